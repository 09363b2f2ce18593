"""From the ingested table to a clean, versioned data set in three splits, with a reason for every dropped row.

The work is cut into tasks on shards of the table (`shards`), decided over all shards in `decide`, and written here.
Every task leaves a done marker in the run's work folder: a run that was killed goes on where it stopped.
"""

import fcntl
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import xxhash

from llm_flywheel.components.common.dataset import SPLITS, origin, read_manifest, write_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.decide import Decided, decide
from llm_flywheel.components.curate.decontaminate import Contamination
from llm_flywheel.components.curate.executors import Executor, Inline, Pool, Ray, Task, perform
from llm_flywheel.components.curate.quality import Quality
from llm_flywheel.components.curate.report import write_report
from llm_flywheel.components.curate.shards import ROWS_PER_SHARD, Plan, begin, clean_tasks, plan_of
from llm_flywheel.components.curate.written import FILES, tally_tasks, write_file

logger = logging.getLogger(__name__)

# What ``ingest`` and ``scan_pii`` wrote and later steps show; carried along because only the direct parent is at hand.
_CARRIED = ("pii", "access", "quarantined")


@dataclass(frozen=True)
class CurateResult:
    """What ``run`` did.

    Attributes:
        version: Version of the data set: the hash of all kept row ids.
        rows_in: Rows read; equal to ``rows_out`` plus the sum of ``dropped``.
        rows_out: Rows kept.
        splits: Kept rows per split.
        dropped: Dropped rows per reason.
    """

    version: str
    rows_in: int
    rows_out: int
    splits: Mapping[str, int]
    dropped: Mapping[str, int]


def run(
    config: CurateConfig,
    dataset: Path,
    curated: Path,
    report: Path | None = None,
    *,
    executor: Executor | None = None,
    work: Path | None = None,
    shard_rows: int = ROWS_PER_SHARD,
) -> CurateResult:
    """Curate one dataset folder.

    Memory holds a few shards of text per worker and some dozen bytes per row, whatever the size of the table.

    Args:
        config: Filters, duplicates and splits.
        dataset: Folder with ``data.parquet`` (and ``manifest.json``) from ``ingest`` or ``scan_pii``.
        curated: Folder for the three splits, ``dropped.parquet`` and ``manifest.json``.
        report: HTML page to write, or None.
        executor: Where the tasks run, if not where ``config.engine`` says. It changes nothing in the result.
        work: Where work in progress is kept, to go on with after a crash; the cache folder by default.
        shard_rows: Most rows of a shard. It changes nothing in the result.

    Raises:
        FlywheelError: The input is no dataset, or nothing is left for a split.
    """
    read_manifest(dataset)  # missing or broken, it must not come to light at the end
    plan = Plan.of(config, dataset, shard_rows)
    with _work_folder(plan, work) as folder, Pool(config.workers) as pool:
        begin(plan, folder)
        engine = executor or _engine(config, plan, pool)
        perform(engine, clean_tasks(folder), "cleaning")
        decide(folder, engine)
        perform(engine, tally_tasks(folder), "counting")
        return finish(folder, dataset, curated, report, engine)


def _engine(config: CurateConfig, plan: Plan, pool: Pool) -> Executor:
    if len(plan.ranges) < 2:
        return Inline()
    return Ray() if config.engine == "ray" else pool


@contextmanager
def _work_folder(plan: Plan, work: Path | None) -> Iterator[Path]:
    """The run's own folder, of which one process at a time makes use; it is gone when all went well."""
    if work is None and len(plan.ranges) < 2:
        with tempfile.TemporaryDirectory(prefix="flywheel-curate-") as scratch:
            yield Path(scratch)
        return
    work = work or Settings.from_env().cache_dir / "curate"
    work.mkdir(parents=True, exist_ok=True)
    folder = work / plan.key
    with (work / f"{plan.key}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("curate: another process curates the same data; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        except FlywheelError as error:
            if error.reason != "worker_died":  # started again it would end the same way
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)


def run_group(folder: Path, phase: str, group: int, groups: int, executor: Executor | None = None) -> None:
    """Do a share of the shards of one phase, for an engine that starts one process per group of shards.

    Between `begin` and `finish` such an engine runs all groups of ``clean``, then `decide`, then all of ``count``; the
    folder is on a disk that all of them share. Group ``g`` does shards g, g + groups, g + 2 groups and so on.

    Args:
        folder: The run's folder.
        phase: ``clean`` or ``count``.
        group: Which share, from 0.
        groups: How many shares there are.
        executor: Where the tasks run; all cores of this machine by default.
    """
    tasks = {"clean": clean_tasks, "count": tally_tasks}[phase](folder)[group::groups]
    with Pool(plan_of(folder).settings.workers) as pool:
        perform(executor or pool, tasks, f"{phase}, group {group + 1} of {groups}")


def finish(folder: Path, dataset: Path, curated: Path, report: Path | None, executor: Executor) -> CurateResult:
    """Write the curated data set of a run that is decided and counted.

    Args:
        folder: The run's folder.
        dataset: As in `run`.
        curated: As in `run`.
        report: As in `run`.
        executor: Writes the files.
    """
    tasks = [Task(write_file, folder, "written", key) for key in range(len(FILES))]
    rows = {name: outcome["rows"] for name, outcome in zip(FILES, perform(executor, tasks), strict=True)}
    quality = Quality(plan_of(folder).settings)
    for task in tally_tasks(folder):
        quality.merge(Quality.from_dict(task.outcome()["quality"]))
    curated.mkdir(parents=True, exist_ok=True)
    (curated / "manifest.json").unlink(missing_ok=True)
    for task, name in zip(tasks, FILES, strict=True):
        shutil.move(task.stem.with_suffix(".parquet"), curated / f"{name}.parquet")
    result = _result(curated, rows, quality)
    manifest = _manifest(result, quality, Decided.read(folder), folder, dataset)
    write_manifest(curated, manifest)
    _log(result)
    if report is not None:
        write_report(manifest, report)
    return result


def _result(curated: Path, rows: Mapping[str, int], quality: Quality) -> CurateResult:
    splits = {name: rows[name] for name in SPLITS}
    rows_out = sum(splits.values())
    dropped = dict(quality.reasons.most_common())
    if quality.rows != rows_out or sum(dropped.values()) != rows["dropped"]:
        raise AssertionError(f"{quality.rows} rows and {dropped} counted, {rows} written")
    version = _version([curated / f"{name}.parquet" for name in SPLITS])
    return CurateResult(version, rows_out + rows["dropped"], rows_out, splits, dropped)


def _version(paths: list[Path]) -> str:
    """See `dataset.version_of`; in 40 bytes per row."""
    ids = pl.concat([pl.Series("id", pq.read_table(path, columns=["id"])["id"], dtype=pl.String) for path in paths])
    digest = xxhash.xxh3_128()
    for part in ids.fill_null("").sort().to_frame().iter_slices(10_000):
        digest.update("".join(part["id"]).encode())
    return digest.hexdigest()[:16]


def _manifest(result: CurateResult, quality: Quality, decided: Decided, folder: Path, dataset: Path) -> dict[str, Any]:
    plan, parent = plan_of(folder), read_manifest(dataset)
    contamination = Contamination.from_config(plan.settings, folder)
    counted = quality.to_dict()
    manifest = {
        "step": "curate",
        "version": result.version,
        "parent": _version([dataset / "data.parquet"]),
        "parent_step": parent.get("step"),
        **origin(),
        "config": plan.config,
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "splits": result.splits,
        "dropped": result.dropped,
        **vars(decided),
        "languages": counted["languages"],
        "sources": counted["sources"],
        "lengths": quality.lengths(),
        "quality": counted,
        "decontamination": contamination.summary if contamination else None,
        **{key: parent[key] for key in _CARRIED if key in parent},
    }
    _check_sums(manifest, plan, parent, dataset)
    return manifest


def _check_sums(manifest: Mapping[str, Any], plan: Plan, parent: Mapping[str, Any], dataset: Path) -> None:
    rows_in = plan.ranges[-1][1]
    if rows_in != manifest["rows_out"] + sum(manifest["dropped"].values()):
        raise AssertionError(f"{rows_in} rows in, {manifest['rows_out']} out and {manifest['dropped']} dropped")
    quarantined = sum(parent.get("quarantined", {}).values())
    if parent.get("rows_in", rows_in + quarantined) != rows_in + quarantined:
        raise FlywheelError(
            f"the table has {rows_in:,} rows, but its manifest says {parent['rows_in']:,} read and {quarantined:,} "
            "quarantined",
            where=str(dataset),
            fix="do not mix files of two datasets in one folder",
            reason="manifest",
        )


def _log(result: CurateResult) -> None:
    parts = [f"{rows:,} {name}" for name, rows in result.splits.items()]
    logger.info(
        "curate: %s rows = %s + %s dropped (%s)",
        f"{result.rows_in:,}",
        " + ".join(parts),
        f"{sum(result.dropped.values()):,}",
        ", ".join(f"{reason} {rows:,}" for reason, rows in result.dropped.items()) or "none",
    )
