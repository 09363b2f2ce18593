"""The Go programs of the local cluster: built from pinned modules, kept by the hash of what they are built from."""

import hashlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError

MODULES = Path(__file__).parent / "modules"
KUBERNETES = "v1.34.4"
_VERSION_FLAGS = (
    f"-X k8s.io/component-base/version.gitVersion={KUBERNETES} -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
)


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        name: Name of the binary.
        module: Folder under ``modules`` with its own go.mod and go.sum: the programs' dependencies do not agree.
        package: What to build.
        flags: For the linker.
    """

    name: str
    module: str
    package: str
    flags: str = ""


def _kubernetes(name: str) -> Program:
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _VERSION_FLAGS)


NODE = (
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    _kubernetes("kubectl"),
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Program("coredns", "coredns", "github.com/coredns/coredns"),
    Program("pause", "pause", "."),
)
PARTS = (
    Program("kserve-manager", "kserve", "github.com/kserve/kserve/cmd/manager"),
    Program("traefik", "traefik", "github.com/traefik/traefik/v3/cmd/traefik"),
    Program("training-operator", "training-operator", "github.com/kubeflow/training-operator/cmd/training-operator.v1"),
    Program("trainer", "trainer", "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager"),
    Program("jobset", "jobset", "sigs.k8s.io/jobset"),
    Program("minio", "minio", "github.com/minio/minio"),
)


def build(programs: tuple[Program, ...], cache: Path) -> dict[str, Path]:
    """Build what is not there yet, with a line of progress for each.

    Args:
        programs: What is needed.
        cache: Folder of the binaries.

    Returns:
        Path by program name.

    Raises:
        FlywheelError: Go is missing, or a build fails; with the end of what it said.
    """
    paths = {program.name: cache / f"{program.name}-{_key(program)}" for program in programs}
    missing = [program for program in programs if not paths[program.name].is_file()]
    for number, program in enumerate(missing, start=1):
        started = time.monotonic()
        print(f"[{number}/{len(missing)}] building {program.name} …", flush=True)
        _build(program, paths[program.name])
        print(f"[{number}/{len(missing)}] built {program.name} in {time.monotonic() - started:.0f} s", flush=True)
    return paths


def module_dir(module: str, path: str) -> Path:
    """Folder of a dependency of a tool module, with the manifests that it ships.

    Raises:
        FlywheelError: It cannot be downloaded.
    """
    command = ["go", "mod", "download", "-json", path]
    said = _go(command, MODULES / module, f"downloading {path}")
    return Path(json.loads(said)["Dir"])


def _key(program: Program) -> str:
    folder, digest = MODULES / program.module, hashlib.sha256(f"{program.package} {program.flags}".encode())
    for name in ("go.mod", "go.sum", "main.go"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def _build(program: Program, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    command = ["go", "build", "-trimpath", "-ldflags", f"-s -w {program.flags}".strip(), "-o", str(partial)]
    try:
        _go([*command, program.package], MODULES / program.module, f"building {program.name}")
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _go(command: list[str], folder: Path, what: str) -> str:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise FlywheelError(
            "Go is not installed", where=what, fix="install Go 1.25 or newer (https://go.dev/dl)", reason="go"
        ) from None
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise FlywheelError(f"{what} failed:\n{tail}", where=str(folder), reason="go")
    return done.stdout
