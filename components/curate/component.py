"""KFP interface of ``curate``: one step, or for large data one pod per group of shards.

The pods of groups share a work folder, so it must be on a volume that all of them mount (ReadWriteMany). Tens of
groups, not thousands: every one is an object of the workflow, and each holds as many shards as it has to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def curate(
    config: dict,
    dataset: dsl.Input[dsl.Dataset],
    curated: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Curated", [("version", str)]):
    """Normalise, filter, deduplicate and split a dataset; every dropped row keeps its reason.

    Args:
        config: The ``curate`` section.
        dataset: Folder with data.parquet and manifest.json.
        curated: Folder with train, validation, test and dropped.parquet and manifest.json.
        report: Page with counts that add up, languages, sources and lengths.
        metrics: Rows in, out, per split and dropped per reason.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.config import CurateConfig
    from llm_flywheel.components.curate.curate import run

    with step("curate") as record:
        result = run(
            bind(CurateConfig, config, where="curate"), Path(dataset.path), Path(curated.path), Path(report.path)
        )
        record.summary.update(version=result.version, **result.splits, dropped=result.rows_in - result.rows_out)
        record.report(report.path)
        metrics.log_metric("rows_in", result.rows_in)
        metrics.log_metric("rows_out", result.rows_out)
        for name, rows in result.splits.items():
            metrics.log_metric(f"rows_{name}", rows)
        for reason, rows in result.dropped.items():
            metrics.log_metric(f"dropped_{reason}", rows)
        curated.metadata["version"] = result.version
    return (result.version,)


@dsl.component(base_image=CORE, install_kfp_package=False)
def begin_curation(config: dict, dataset: dsl.Input[dsl.Dataset], work: str, shard_rows: int):
    """Cut a dataset into shards.

    Args:
        config: The ``curate`` section.
        dataset: Folder with data.parquet and manifest.json.
        work: Folder on a volume that all steps share; each run has one of its own in it.
        shard_rows: Most rows of a shard.
    """
    import shutil

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.config import CurateConfig
    from llm_flywheel.components.curate.shards import Plan, begin, folder_of_run

    with step("begin-curation") as record:
        folder = folder_of_run(work)
        # Pods of groups have the shared volume, but not the artifact.
        shutil.copytree(dataset.path, folder / "input", dirs_exist_ok=True)
        plan = Plan.of(bind(CurateConfig, config, where="curate"), folder / "input", int(shard_rows))
        begin(plan, folder / "shards")
        record.summary.update(shards=len(plan.ranges))


@dsl.component(base_image=CORE, install_kfp_package=False)
def curate_group(work: str, phase: str, group: int, groups: int):
    """Clean or count a share of the shards.

    Args:
        work: As for ``begin_curation``.
        phase: ``clean`` or ``count``.
        group: Which share, from 0.
        groups: How many shares there are.
    """
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.curate import run_group
    from llm_flywheel.components.curate.shards import folder_of_run

    with step(f"{phase}-{int(group)}"):
        run_group(folder_of_run(work) / "shards", phase, int(group), int(groups))


@dsl.component(base_image=CORE, install_kfp_package=False)
def decide_fates(work: str):
    """Decide over all shards what becomes of every row.

    Args:
        work: As for ``begin_curation``; all shards cleaned.
    """
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.decide import decide
    from llm_flywheel.components.curate.executors import Pool
    from llm_flywheel.components.curate.shards import folder_of_run, plan_of

    folder = folder_of_run(work) / "shards"
    with step("decide-fates"), Pool(plan_of(folder).settings.workers) as pool:
        decide(folder, pool)


@dsl.component(base_image=CORE, install_kfp_package=False)
def finish_curation(
    work: str,
    dataset: dsl.Input[dsl.Dataset],
    curated: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
) -> NamedTuple("Curated", [("version", str)]):
    """Write the curated data set.

    Args:
        work: As for ``begin_curation``; all shards counted.
        dataset: Folder with data.parquet and manifest.json.
        curated: Folder with train, validation, test and dropped.parquet and manifest.json.
        report: Page with counts that add up, languages, sources and lengths.
    """
    from pathlib import Path

    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.curate import finish
    from llm_flywheel.components.curate.executors import Pool
    from llm_flywheel.components.curate.shards import folder_of_run, plan_of

    folder = folder_of_run(work) / "shards"
    with step("finish-curation") as record, Pool(plan_of(folder).settings.workers) as pool:
        result = finish(folder, Path(dataset.path), Path(curated.path), Path(report.path), pool)
        record.summary.update(version=result.version, **result.splits, dropped=result.rows_in - result.rows_out)
        record.report(report.path)
        curated.metadata["version"] = result.version
    return (result.version,)


@dsl.component(base_image=CORE, install_kfp_package=False)
def end_curation(work: str):
    """Remove what the other steps left; a step of its own, so that each of them can be tried again.

    Args:
        work: As for ``begin_curation``.
    """
    import shutil

    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.shards import folder_of_run

    with step("end-curation"):
        shutil.rmtree(folder_of_run(work), ignore_errors=True)


def _never_cached(task: Any) -> Any:
    return task.set_caching_options(False)


def curate_in_groups(
    config: Any,
    dataset: Any,
    work: str,
    groups: int,
    shard_rows: int = 20_000,
    prepare: Callable[[Any], Any] = _never_cached,
    after: Any = None,
) -> Any:
    """Do what the component ``curate`` does in ``groups`` pods; call it where a pipeline is defined.

    Args:
        config: The ``curate`` section.
        dataset: What ``scan_pii`` or ``ingest`` made.
        work: Folder on a volume that all steps mount; a constant, or a parameter of the pipeline.
        groups: How many pods clean and count at the same time.
        shard_rows: Most rows of a shard.
        prepare: Is called with every task, to mount the volume and to set FLYWHEEL_RUN_ID; no task may be cached, as
            what it leaves lies in the work folder, which a cache knows nothing of.
        after: A task to wait for, if it is not the one that made ``dataset``.

    Returns:
        The task with the outputs ``curated``, ``report`` and ``version``.
    """
    begun = prepare(begin_curation(config=config, dataset=dataset, work=work, shard_rows=shard_rows))
    if after is not None:
        begun.after(after)
    # No output of a task goes into a loop: kfp.local 2.17 puts the loop's item in its place.
    with dsl.ParallelFor(list(range(groups)), name="clean") as group:
        cleaned = prepare(curate_group(work=work, phase="clean", group=group, groups=groups)).after(begun)
    decided = prepare(decide_fates(work=work)).after(cleaned)
    with dsl.ParallelFor(list(range(groups)), name="count") as group:
        counted = prepare(curate_group(work=work, phase="count", group=group, groups=groups)).after(decided)
    done = prepare(finish_curation(work=work, dataset=dataset)).after(counted)
    prepare(end_curation(work=work)).after(done)
    return done
