"""Dataset versions of this machine: what the manifests of local runs say, found by run, by folder or by version."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.access import access_of
from llm_flywheel.components.common.dataset import SPLITS, read_manifest
from llm_flywheel.components.common.errors import FlywheelError

logger = logging.getLogger(__name__)

# What `pipelines/local.py` adds to the name of a run.
_RUN_SUFFIX = r"-\d{8}-\d{6}-[0-9a-f]{4}"
_VERSION = re.compile(r"[0-9a-f]{4,16}")


@dataclass(frozen=True)
class DatasetVersion:
    """One dataset folder, as its manifest describes it.

    Attributes:
        folder: Where it lies.
        version: Hash of its row ids.
        step: Component that made it.
        parent: Version it was made from, or empty.
        created: ISO 8601, UTC.
        made_by: Who ran the step.
        run_id: In which run.
        rows_out: Rows in it.
        dropped: Rows that the step did not pass on, by reason; ``ingest`` puts them into quarantine.
        splits: Rows per split; empty before ``curate``.
        pii: ``found``, ``masked`` and ``remaining`` as counts in all; empty before ``scan_pii``.
        level: Security level, or empty.
    """

    folder: Path
    version: str
    step: str
    parent: str
    created: str
    made_by: str
    run_id: str
    rows_out: int
    dropped: Mapping[str, int]
    splits: Mapping[str, int]
    pii: Mapping[str, int]
    level: str
    _written: int = field(default=0, repr=False)

    @property
    def rows_in(self) -> int:
        """Rows that the step read."""
        return self.rows_out + sum(self.dropped.values())

    @property
    def age(self) -> tuple[str, int]:
        """Sorts versions from old to new; ``created`` has whole seconds, and steps can be faster."""
        return self.created, self._written

    def __str__(self) -> str:
        return f"{self.version} ({self.step}{f' of {self.run_id}' if self.run_id else ''})"

    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {**shown, "folder": str(self.folder), "rows_in": self.rows_in}


def read_version(folder: Path) -> DatasetVersion:
    """The version in a folder; raises FlywheelError when its manifest is missing or does not describe a dataset."""
    path = folder / "manifest.json"
    manifest = read_manifest(folder)
    try:
        step, pii = str(manifest["step"]), manifest.get("pii") or {}
        dropped = manifest.get("quarantined" if step == "ingest" else "dropped") or {}
        return DatasetVersion(
            folder=folder,
            version=str(manifest["version"]),
            step=step,
            parent=str(manifest.get("parent") or ""),
            created=str(manifest.get("created") or ""),
            made_by=str(manifest.get("made_by") or ""),
            run_id=str(manifest.get("run_id") or ""),
            rows_out=int(manifest["rows_out"]),
            dropped=_counts(dropped),
            splits=_counts(manifest.get("splits") or {}) if step == "curate" else {},
            pii={key: sum(_counts(pii[key]).values()) for key in ("found", "masked", "remaining") if key in pii},
            level=access_of(manifest, path).level,
            _written=path.stat().st_mtime_ns,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"this manifest does not describe a dataset version: {error!r}"
        raise FlywheelError(what, where=str(path), reason="manifest") from None


def _counts(values: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in values.items()}


def tables_of(folder: Path) -> list[tuple[str, Path]]:
    """The Parquet files of a dataset with the split of each, which is empty before ``curate``.

    Raises:
        FlywheelError: There is none.
    """
    tables = [(name, folder / f"{name}.parquet") for name in SPLITS]
    found = [(name, path) for name, path in tables if path.is_file()]
    if not found and (folder / "data.parquet").is_file():
        found = [("", folder / "data.parquet")]
    if not found:
        raise FlywheelError("no data.parquet and no train.parquet there", where=str(folder), reason="missing")
    return found


def all_versions(home: Path) -> list[DatasetVersion]:
    """Every dataset version that runs of this machine have made, the newest first."""
    found = []
    for path in home.glob("runs/*/artifacts/*/*/*/manifest.json"):
        try:
            found.append(read_version(path.parent))
        except FlywheelError as error:
            logger.warning("not listed: %s", error)
    return sorted(found, key=lambda version: version.age, reverse=True)


def find_version(name: str, versions: Sequence[DatasetVersion]) -> DatasetVersion:
    """The dataset that a person means.

    Args:
        name: A dataset folder; a run's folder, id or name (``quickstart`` is its newest run), with ``:STEP`` for
            another dataset than the last one; or the first digits of a version.
        versions: What there is, the newest first.

    Raises:
        FlywheelError: There is no such dataset, or more than one version begins like this.
    """
    folder = _path(name)
    if os.path.isfile(folder / "manifest.json"):  # also of a name that is too long for a file
        return read_version(folder)
    run, _, step = name.partition(":")
    matching = [item for item in of_run(run, versions) if step in ("", item.step)]
    if matching:
        return matching[0]
    if _VERSION.fullmatch(name):
        matching = [item for item in versions if item.version.startswith(name)]
    several = sorted({item.version for item in matching})
    if len(several) > 1:
        raise FlywheelError(
            f"{len(several)} versions begin with it: {', '.join(several)}", where=name, reason="ambiguous"
        )
    if not matching:
        raise FlywheelError(
            "no dataset folder, run or dataset version of that name",
            where=name,
            fix="flywheel data log",
            reason="missing",
        )
    return matching[0]


def of_run(name: str, versions: Sequence[DatasetVersion]) -> list[DatasetVersion]:
    """Versions of the run with this folder or id, or else of all runs with this name; the newest first."""
    run_id = _path(name).resolve().name
    exact = [item for item in versions if item.run_id == run_id]
    return exact or [item for item in versions if re.fullmatch(re.escape(name) + _RUN_SUFFIX, item.run_id)]


def _path(name: str) -> Path:
    return Path(os.path.expanduser(name))  # `Path.expanduser` raises where there is no such user


def with_parents(version: DatasetVersion, versions: Sequence[DatasetVersion]) -> list[DatasetVersion]:
    """A version, what it was made from, and so on, as far as the runs of this machine know.

    Of several folders with the parent's version, the one of the same run counts, then the newest; never a younger one:
    a step that changes nothing has its parent's version.
    """
    chain = [version]
    while chain[-1].parent:
        child = chain[-1]
        parents = [item for item in versions if item.version == child.parent and item.age < child.age]
        if not parents:
            break
        chain.append(next((item for item in parents if item.run_id == child.run_id), parents[0]))
    return chain
