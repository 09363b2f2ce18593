"""Fine-tune: prepare the job, launch it, and turn what it said into lineage, metrics and a report."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.resolve import LINEAGE, read_lineage, resolve_base
from llm_flywheel.components.common.dataset import read_manifest
from llm_flywheel.components.common.report import Page
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.finetune.access import require_access
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.events import TrainingLog
from llm_flywheel.components.finetune.kubernetes import ClusterLauncher
from llm_flywheel.components.finetune.launcher import Launcher
from llm_flywheel.components.finetune.local import LocalLauncher

# What the trainer leaves beside a model and nobody serves.
_LEFTOVERS = ("training_args.bin", "README.md")


def run(
    config: FinetuneConfig, dataset: Path, base: Path, model: Path, report: Path, settings: Settings
) -> dict[str, float]:
    """Fine-tune the base model on the train split.

    Args:
        config: Hyperparameters and launcher.
        dataset: Curated dataset folder.
        base: Base model artifact.
        model: Folder for the adapter or weights, tokenizer, chat template and ``flywheel.json``.
        report: HTML file for the loss curve.
        settings: Run id and cache.

    Returns:
        Metrics: steps, losses, speed, examples and dropped examples per split.

    Raises:
        FlywheelError: The data must not be trained on, the training failed, or no launcher of that name runs here.
    """
    access = require_access(dataset, config.max_level, settings)
    launcher = launcher_for(config, settings)
    pretrained = base_for(config, base, settings)
    work = _work_folder(settings)
    try:
        job = work / "job.json"
        values = {"config": config.model_dump(), "base": pretrained, "dataset": str(dataset.resolve())}
        job.write_text(json.dumps({**values, "output": str(work / "model")}), encoding="utf-8")
        log = launcher.run(job)
        shutil.copytree(work / "model", model, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFTOVERS))
    finally:
        shutil.rmtree(work / "model", ignore_errors=True)
    metrics = log.metrics()
    lineage = lineage_of(config, read_lineage(base), read_manifest(dataset), settings.run_id)
    lineage |= {"dataset_level": access.level, "training": metrics}
    (model / LINEAGE).write_text(json.dumps(lineage, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    _name_base(model, lineage["base"])
    write_report(log, metrics, lineage, report)
    return metrics


def _work_folder(settings: Settings) -> Path:
    """A folder for the job and its log; kept, because an error message names the log."""
    if settings.run_dir is None:
        return Path(tempfile.mkdtemp(prefix="flywheel-finetune-"))
    folder = settings.run_dir.resolve() / "finetune"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def launcher_for(config: FinetuneConfig, settings: Settings) -> Launcher:
    """The launcher that the config names; raises FlywheelError where it cannot run."""
    if config.launcher == "local":
        return LocalLauncher(config.nproc_per_node)
    return ClusterLauncher(config, settings)


def base_for(config: FinetuneConfig, base: Path, settings: Settings) -> str:
    """The base model as the launcher takes it: a folder or a Hub id; pods fetch what lies in S3 themselves."""
    if config.launcher != "local" and not (base / "config.json").is_file():
        reference = str(read_lineage(base).get("reference", ""))
        if reference.startswith("s3://"):
            return reference
    return str(resolve_base(base, settings))


def lineage_of(
    config: FinetuneConfig, base: Mapping[str, Any], manifest: Mapping[str, Any], run_id: str
) -> dict[str, Any]:
    """What the model was made of, for ``flywheel.json``."""
    return {
        "kind": "adapter" if config.adapter else "full",
        "base": base.get("base") or base.get("reference", ""),
        "dataset_version": manifest.get("version", ""),
        "seed": config.seed,
        "recipe": config.model_dump(exclude={"cluster", "tiny_recipe", "launcher"}),
        "run_id": run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _name_base(model: Path, base: str) -> None:
    """Put the base's name where PEFT wrote this machine's path of it; another machine could not read that."""
    path = model / "adapter_config.json"
    if path.is_file():
        adapter = json.loads(path.read_text(encoding="utf-8"))
        adapter["base_model_name_or_path"] = base
        path.write_text(json.dumps(adapter, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_report(log: TrainingLog, metrics: Mapping[str, float], lineage: Mapping[str, Any], path: Path) -> None:
    """The HTML page with the loss curve."""
    page = Page("Fine-tuning", f"{lineage['kind']} of {lineage['base']} on dataset {lineage['dataset_version']}")
    page.heading("Loss")
    if log.progress:
        page.figure(_curve(log), _caption(log))
    page.heading("Numbers")
    page.table(["metric", "value"], [[name, round(value, 4)] for name, value in metrics.items()])
    dropped = [
        [name, reason, count] for name, split in log.splits.items() for reason, count in split["dropped"].items()
    ]
    if dropped:
        page.heading("Chats left out")
        page.table(["split", "reason", "chats"], dropped)
    page.heading("Recipe")
    page.table(["key", "value"], [[key, str(value)] for key, value in lineage["recipe"].items()])
    page.write(path)


def _caption(log: TrainingLog) -> str:
    first, last = log.progress[0], log.progress[-1]
    text = f"Training loss per answer token: {first['loss']:.3f} at step {first['step']}, "
    text += f"{last['loss']:.3f} at step {last['step']}."
    return text + (f" Validation loss at the end: {log.evals[-1][1]:.3f}." if log.evals else "")


def _curve(log: TrainingLog) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2))
    axes = figure.subplots()
    axes.plot([event["step"] for event in log.progress], [event["loss"] for event in log.progress], label="training")
    if log.evals:
        axes.plot([step for step, _ in log.evals], [loss for _, loss in log.evals], "o-", label="validation")
    axes.set(xlabel="optimizer step", ylabel="loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
