"""Content addresses of model folders, and their place in object storage."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.resolve import LINEAGE
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import files_under, store_for


def content_hash(folder: Path, *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the names and bytes of all files of a folder, in the order of their names.

    Args:
        folder: What to hash.
        without: Names of files at its top that do not count.
    """
    digest = hashlib.sha256()
    for path in files_under(folder):
        name = path.relative_to(folder).as_posix()
        if name in without:
            continue
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").digest()
        digest.update(len(name.encode()).to_bytes(8, "little") + name.encode() + inner)
    return digest.hexdigest()


def upload_once(folder: Path, uri: str, settings: Settings) -> None:
    """Store a folder whose address is its content; nothing is sent when it is there completely.

    Raises:
        FlywheelError: Storage refuses.
    """
    store = store_for(uri, settings)
    # S3 has no rename: a second object says that the first upload ended.
    mark = f"{uri}.complete"
    if store.exists(mark) and store.exists(uri):
        return
    store.upload(folder, uri)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "complete").write_text(uri, encoding="utf-8")
        store.upload(Path(name), mark)


def base_uri_of(base: Path, settings: Settings) -> str:
    """Where another machine finds the base weights: stored now, or by the reference that they came by.

    Args:
        base: Base model artifact: weights, or ``flywheel.json`` with a reference.
        settings: Object storage.

    Returns:
        A URI that KServe can read: the object store's, the reference itself, or ``hf://owner/name``.

    Raises:
        FlywheelError: The artifact is neither, or storage refuses.
    """
    folder = base
    if not (base / "config.json").is_file():
        reference = str(read_json(base / LINEAGE).get("reference", ""))
        if not reference:
            raise FlywheelError("neither a model nor a reference", where=str(base), reason="missing")
        if "://" in reference:
            return reference
        if not reference.startswith("/"):
            return f"hf://{reference}"
        folder = Path(reference)
    # Lineage may hold times; equal weights are to have one address.
    digest = content_hash(folder, without=(LINEAGE,))
    uri = f"{settings.object_store}/models/_base/{digest[:32]}"
    upload_once(folder, uri, settings)
    return uri


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises FlywheelError when the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FlywheelError(f"no readable JSON: {error}", where=str(path), reason="unreadable") from None
    if not isinstance(value, dict):
        raise FlywheelError("not a JSON object", where=str(path), reason="unreadable")
    return value
