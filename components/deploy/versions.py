"""Which model versions are to answer: read from the registry, fetched from object storage."""

import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import local_path, store_for
from llm_flywheel.components.common.tracking import CHAMPION, explained, open_client

BASE_VERSION = "base"


@dataclass(frozen=True)
class Registered:
    """One model version as the registry describes it.

    Attributes:
        version: Registered version, or ``base`` for the untuned base model.
        uri: Full weights, or a LoRA adapter.
        base_uri: Base weights of an adapter; empty for full weights.
        lora_rank: Rank of the adapter, 0 for full weights or when unknown.
    """

    version: str
    uri: str
    base_uri: str = ""
    lora_rank: int = 0


def read_versions(settings: Settings, name: str, version: str) -> tuple[Registered, Registered]:
    """Stable and canary: the champion (or the canary's base model where there is none yet) and ``version``.

    Raises:
        FlywheelError: The registry refuses, knows no such version, or it is the champion already.
    """
    from mlflow.exceptions import MlflowException

    client = open_client(settings)
    with explained(settings.tracking_uri):
        found = client.get_model_version(name, version)
        try:
            champion = client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException:
            champion = None  # the first rollout of this model
    canary = _registered(found)
    if champion is None:
        base_uri = found.tags.get("base_uri", "")
        if not base_uri:
            raise FlywheelError("the version names no base model", where=f"{name}/{version}", reason="base_uri")
        return Registered(BASE_VERSION, base_uri), canary
    if str(champion.version) == str(version):
        raise FlywheelError(
            "the version is the champion already; there is nothing to roll out",
            where=f"{name}/{version}",
            fix="publish another version, or move the alias champion back",
            reason="same",
        )
    return _registered(champion), canary


def read_version(settings: Settings, name: str, version: str = "") -> Registered:
    """One registered version: the given one, else the champion, else the newest.

    Raises:
        FlywheelError: The registry refuses, or knows no such model or version.
    """
    from mlflow.exceptions import MlflowException

    client = open_client(settings)
    with explained(settings.tracking_uri):
        if version:
            return _registered(client.get_model_version(name, version))
        try:
            return _registered(client.get_model_version_by_alias(name, CHAMPION))
        except MlflowException:
            found = client.search_model_versions(f"name='{name}'")
    if not found:
        known = sorted(model.name for model in client.search_registered_models())
        fix = f"registered: {', '.join(known)}" if known else "flywheel run pipelines/configs/quickstart.yaml"
        raise FlywheelError("no such registered model", where=name, fix=fix, reason="missing")
    return _registered(max(found, key=lambda item: int(item.version)))


def _registered(found: Any) -> Registered:
    tags = found.tags
    adapter = tags.get("kind") == "adapter"
    rank = tags.get("lora_rank", "")
    return Registered(
        str(found.version),
        found.source,
        tags.get("base_uri", "") if adapter else "",
        int(rank) if adapter and rank.isdigit() else 0,
    )


def fetch(uri: str, settings: Settings) -> str:
    """A folder of this machine with what ``uri`` names, or the Hugging Face id of an ``hf://`` URI.

    Raises:
        FlywheelError: Nothing is stored there, or storage refuses.
    """
    if uri.startswith("hf://"):
        return uri.removeprefix("hf://")
    if uri.startswith("file://"):
        path = local_path(uri)
        if not path.is_dir():
            raise FlywheelError("nothing is stored there", where=uri, reason="missing")
        return str(path)
    target = settings.cache_dir / "models" / sha256(uri.encode()).hexdigest()[:32]
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent, suffix=".partial"))
        try:
            store_for(uri, settings).download(uri, partial)
            partial.rename(target)
        except OSError as error:
            if not target.is_dir():  # else another process was faster
                raise FlywheelError(f"cannot keep the model: {error}", where=str(target), reason="storage") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return str(target)
