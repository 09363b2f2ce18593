"""Where a base model comes from: the `tiny` recipe, a folder, object storage, or the Hugging Face Hub."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.common.dataset import read_manifest, read_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for

LINEAGE = "flywheel.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def make_base(base_model: str, recipe: TinyRecipe, target: Path, settings: Settings, dataset: Path) -> dict[str, Any]:
    """Write the base model artifact: the `tiny` model itself, or a reference to any other.

    Args:
        base_model: ``tiny``, a folder, an ``s3://`` or ``file://`` URI, or a Hub id.
        recipe: For ``tiny``.
        target: The artifact's folder.
        settings: Where the cache is.
        dataset: Curated dataset folder; read only with ``pretrain_on: dataset``.

    Returns:
        The content of ``flywheel.json``.

    Raises:
        FlywheelError: The folder is no model, or the name is none of the four kinds.
    """
    target.mkdir(parents=True, exist_ok=True)
    if base_model == "tiny":
        folder = tiny_model(recipe, settings, dataset)
        shutil.copytree(folder, target, dirs_exist_ok=True)
        return read_lineage(target)
    lineage = {"reference": checked_reference(base_model)}
    _write_json(target / LINEAGE, lineage)
    return lineage


def checked_reference(base_model: str) -> str:
    """The reference in its full form; raises FlywheelError for a folder without a model or an impossible name."""
    if "://" in base_model:
        if base_model.startswith(("s3://", "file://")):
            return base_model.rstrip("/")
    elif Path(base_model).is_dir() or base_model.startswith(("/", ".", "~")):
        folder = Path(base_model).expanduser().resolve()
        if (folder / "config.json").is_file():
            return str(folder)
        raise FlywheelError(
            "no model there (config.json is missing)", where=f"finetune.base_model: {base_model}", reason="missing"
        )
    elif _HUB_ID.fullmatch(base_model):
        return base_model
    raise FlywheelError(
        "not a base model",
        where=f"finetune.base_model: {base_model}",
        fix="use tiny, a folder, s3://bucket/prefix, file:///path or a Hugging Face id",
        reason="reference",
    )


def resolve_base(model_dir: Path, settings: Settings) -> Path | str:
    """What ``from_pretrained`` takes for a base model artifact, fetched now if it lies in object storage.

    Returns:
        A local folder, or a Hugging Face Hub id.

    Raises:
        FlywheelError: The artifact holds neither a model nor a reference, or storage refuses.
    """
    if (model_dir / "config.json").is_file():
        return model_dir
    reference = read_lineage(model_dir).get("reference", "")
    if not reference:
        raise FlywheelError("neither a model nor a reference", where=str(model_dir), reason="missing")
    if "://" not in reference:
        return Path(reference) if reference.startswith("/") else str(reference)
    folder = settings.cache_dir / "downloads" / hashlib.sha256(reference.encode()).hexdigest()[:16]
    _once(folder, lambda partial: store_for(reference, settings).download(reference, partial))
    return folder


def tiny_model(recipe: TinyRecipe, settings: Settings, dataset: Path) -> Path:
    """The cached `tiny` model of this recipe, trained first when there is none; safe for parallel callers."""
    from llm_flywheel.components.base_model.tiny import CODE_VERSION, train_tiny

    on_dataset = recipe.pretrain_on == "dataset"
    version = read_manifest(dataset).get("version", "") if on_dataset else ""
    key = {"code": CODE_VERSION, "recipe": recipe.model_dump(), "dataset": version}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]

    def train(partial: Path) -> None:
        chats = read_table(dataset / "train.parquet")["messages"].to_pylist() if on_dataset else None
        facts = train_tiny(partial, recipe, chats)
        lineage = {"kind": "full", "base": f"tiny-{digest}", "seed": recipe.seed, "dataset_version": version}
        _write_json(partial / LINEAGE, {**lineage, "recipe": recipe.model_dump(), "training": facts})

    folder = settings.cache_dir / "base" / digest
    _once(folder, train)
    return folder


def read_lineage(model_dir: Path) -> dict[str, Any]:
    """``flywheel.json`` of a model folder; raises FlywheelError when it is missing or broken."""
    path = model_dir / LINEAGE
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value
    except (OSError, ValueError) as error:
        raise FlywheelError(f"no readable lineage: {error}", where=str(path), reason="lineage") from None


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """Make ``folder`` unless it exists; it appears whole or not at all, and one process at a time makes it."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_name(f"{folder.name}.lock")):
        if folder.is_dir():
            return
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            make(partial)
            partial.chmod(0o755)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """An exclusive lock that the kernel releases when the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
