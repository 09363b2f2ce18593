"""The one protocol behind which a training runs somewhere."""

from pathlib import Path
from typing import Protocol

from llm_flywheel.components.finetune.events import TrainingLog


class Launcher(Protocol):
    """Runs the training program to its end."""

    def run(self, job: Path) -> TrainingLog:
        """Train as ``job`` (a JSON file, see `train.Job`) says.

        Raises:
            FlywheelError: The training failed, or the place to run it is not available.
        """
