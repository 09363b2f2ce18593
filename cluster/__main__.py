"""``make cluster`` and ``make cluster-down``: a Kubernetes of this machine's own, or what is missing in a given one."""

import argparse
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from llm_flywheel.cluster.install import ROOT, Installer
from llm_flywheel.cluster.node import LocalNode, stop
from llm_flywheel.cluster.programs import NODE, PARTS, build
from llm_flywheel.components.common.errors import FlywheelError

CACHE = ROOT / ".cache" / "cluster"
STATE = CACHE / "node"


def main() -> int:
    """Run; 0 when done, 1 with an explanation when not."""
    parser = argparse.ArgumentParser(prog="python -m llm_flywheel.cluster", description=__doc__)
    parser.add_argument("action", choices=["build", "up", "down"])
    action = parser.parse_args().action
    try:
        if action == "down":
            stop(STATE)
            for name in ("env.sh", "pipeline.kubeconfig", "admin.kubeconfig"):
                (CACHE / name).unlink(missing_ok=True)
        elif action == "build":
            build((*NODE, *PARTS), CACHE / "programs")
        else:
            up(os.environ.get("KUBECONFIG", ""))
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def up(given: str) -> None:
    """Start a node unless a cluster is given, install what is missing, and say how to use it.

    Args:
        given: Kubeconfig of a cluster; empty for a node of our own.
    """
    started = time.monotonic()
    admin = CACHE / "admin.kubeconfig"
    if given and Path(given).resolve().parent != CACHE.resolve():
        found = shutil.which("kubectl")
        if found is None:
            raise FlywheelError("kubectl is not installed", reason="missing")
        node, programs, program = None, {}, Path(found)
        shutil.copy(given, admin)
    else:
        programs = build((*NODE, *PARTS), CACHE / "programs")
        node, program = LocalNode(STATE, programs), programs["kubectl"]
        if not node.running():
            print("starting the node", flush=True)
            node.start()
        shutil.copy(node.kubeconfig, admin)
    admin.chmod(0o600)
    installer = Installer(program, admin, programs, node, CACHE / "images")
    installer.run()
    pipeline = CACHE / "pipeline.kubeconfig"
    installer.pipeline_kubeconfig(pipeline)
    gateway = installer.gateway_url()
    variables = {"KUBECONFIG": str(pipeline), **installer.environment(), "FLYWHEEL_GATEWAY": gateway}
    script = CACHE / "env.sh"
    script.unlink(missing_ok=True)
    script.touch(mode=0o600)
    script.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    make_bucket(variables)
    print(f"\nThe cluster is up ({time.monotonic() - started:.0f} s).")
    print(f"  Gateway        {gateway or 'none yet'}")
    print(f"  as admin       export KUBECONFIG={admin}")
    print(f"  as a pipeline  source {script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script}")
    if node is None:
        print("  MinIO and PostgreSQL are reached through")
        print("    kubectl -n flywheel-storage port-forward service/minio 9000 &")
        print("    kubectl -n flywheel-storage port-forward service/postgres 5432 &")


def make_bucket(variables: dict[str, str]) -> None:
    """Make the bucket that ``FLYWHEEL_OBJECT_STORE`` names, if there is none."""
    from minio import Minio

    from llm_flywheel.cluster.install import BUCKET

    endpoint = variables["AWS_ENDPOINT_URL"].removeprefix("http://")
    client = Minio(
        endpoint, variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], secure=False, region="us-east-1"
    )
    if not client.bucket_exists(BUCKET):
        client.make_bucket(BUCKET)


if __name__ == "__main__":
    sys.exit(main())
