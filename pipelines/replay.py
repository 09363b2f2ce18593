"""``flywheel rollout replay``: recompute a stored decision and say whether it comes out the same."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.rollout.rollout import EVIDENCE_NAME
from llm_flywheel.serving.rollout.replay import replay_file


def replay(evidence: Path, settings: Settings) -> int:
    """Replay an evidence file, or the evidence of a run.

    Args:
        evidence: Path of an evidence file, or a run id.
        settings: Where runs are.

    Returns:
        0 if every decision came out as stored, else 1.

    Raises:
        FlywheelError: There is no such evidence, or it is damaged.
    """
    path = evidence if evidence.is_file() else settings.home / "runs" / evidence / EVIDENCE_NAME
    if not path.is_file():
        raise FlywheelError(
            "neither an evidence file nor a run with a rollout",
            where=str(evidence),
            fix=f"ls {settings.home / 'runs'}/*/{EVIDENCE_NAME}",
            reason="missing",
        )
    result = replay_file(path)
    console = Console(highlight=False)
    console.print(f"{path}", soft_wrap=True)
    console.print(f"{result.model}: recomputed {result.looks} looks: {result.decision} ({result.rule})", soft_wrap=True)
    console.print(f"  {escape(result.reason)}", soft_wrap=True)
    if result.ok:
        console.print(f"[green]reproduced[/]: the stored decision is {result.stored_decision}")
        return 0
    console.print(f"[red]NOT reproduced[/]: the stored decision is {result.stored_decision}")
    for mismatch in result.mismatches:
        console.print(f"  {escape(mismatch)}", soft_wrap=True)
    return 1
