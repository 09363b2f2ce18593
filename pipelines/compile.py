"""Compiles the pipeline to YAML that a Kubeflow Pipelines backend accepts, and keeps the committed copy fresh."""

import difflib
import tempfile
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.tasks import Profile

COMPILED = Path(__file__).parent / "compiled" / "flywheel.yaml"


def compile_text(profile: Profile) -> str:
    """The compiled pipeline as YAML text."""
    from kfp import compiler

    from llm_flywheel.pipelines.flywheel import build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flywheel.yaml"
        compiler.Compiler().compile(build(profile), str(path))
        return path.read_text(encoding="utf-8")


def compile_to(path: Path, profile: Profile) -> None:
    """Write the compiled pipeline to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compile_text(profile), encoding="utf-8")


def check(path: Path, profile: Profile) -> None:
    """Make sure the compiled file is what the code compiles to.

    Raises:
        FlywheelError: It is missing or differs; the message holds the first differing lines.
    """
    fresh = compile_text(profile)
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    if fresh == stored:
        return
    lines = list(
        difflib.unified_diff(stored.splitlines(), fresh.splitlines(), "stored", "compiled now", n=1, lineterm="")
    )
    raise FlywheelError(
        "the compiled pipeline is out of date:\n" + "\n".join(lines[:20]),
        where=str(path),
        fix="flywheel compile",
        reason="stale",
    )
