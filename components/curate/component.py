"""KFP interface of ``curate``: one step, or for large data one pod per group of shards.

The pods of groups share a work folder, so it must be on a volume that all of them mount (ReadWriteMany). Tens of
groups, not thousands: every one is an object of the workflow, and each holds as many shards as it has to.
"""

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
        work: The run's own folder, on a volume that all steps share.
        shard_rows: Most rows of a shard.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.config import CurateConfig
    from llm_flywheel.components.curate.shards import Plan, begin

    with step("begin-curation") as record:
        plan = Plan.of(bind(CurateConfig, config, where="curate"), Path(dataset.path), int(shard_rows))
        begin(plan, Path(work))
        record.summary.update(shards=len(plan.ranges))


@dsl.component(base_image=CORE, install_kfp_package=False)
def curate_group(work: str, phase: str, group: int, groups: int):
    """Clean or count a share of the shards.

    Args:
        work: The run's own folder.
        phase: ``clean`` or ``count``.
        group: Which share, from 0.
        groups: How many shares there are.
    """
    from pathlib import Path

    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.curate import run_group

    with step(f"{phase}-{int(group)}"):
        run_group(Path(work), phase, int(group), int(groups))


@dsl.component(base_image=CORE, install_kfp_package=False)
def decide_fates(work: str):
    """Decide over all shards what becomes of every row.

    Args:
        work: The run's own folder, all shards cleaned.
    """
    from pathlib import Path

    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.decide import decide
    from llm_flywheel.components.curate.executors import Pool

    with step("decide-fates"), Pool() as pool:
        decide(Path(work), pool)


@dsl.component(base_image=CORE, install_kfp_package=False)
def finish_curation(
    work: str,
    dataset: dsl.Input[dsl.Dataset],
    curated: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
) -> NamedTuple("Curated", [("version", str)]):
    """Write the curated data set.

    Args:
        work: The run's own folder, all shards counted; it is removed.
        dataset: Folder with data.parquet and manifest.json.
        curated: Folder with train, validation, test and dropped.parquet and manifest.json.
        report: Page with counts that add up, languages, sources and lengths.
    """
    import shutil
    from pathlib import Path

    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.curate.curate import finish
    from llm_flywheel.components.curate.executors import Pool

    with step("finish-curation") as record, Pool() as pool:
        result = finish(Path(work), Path(dataset.path), Path(curated.path), Path(report.path), pool)
        shutil.rmtree(work)
        record.summary.update(version=result.version, **result.splits, dropped=result.rows_in - result.rows_out)
        record.report(report.path)
        curated.metadata["version"] = result.version
    return (result.version,)


class Outputs(NamedTuple):
    """What the pipeline makes, as the component ``curate`` does."""

    curated: dsl.Dataset
    report: dsl.HTML
    version: str


def curation_in_groups(groups: int) -> Any:
    """A pipeline that does what the component ``curate`` does, in ``groups`` pods.

    Args:
        groups: How many pods clean and count at the same time.

    Returns:
        A kfp pipeline with the outputs ``curated``, ``report`` and ``version``; a step of another one, or on its own.
    """

    @dsl.pipeline(name="curate-in-groups", description="Clean, deduplicate and split a large data set.")
    def curate_in_groups(config: dict, dataset: dsl.Input[dsl.Dataset], work: str, shard_rows: int = 20_000) -> Outputs:
        def fresh(task: Any) -> Any:  # what a step leaves lies in the work folder, which a cache knows nothing of
            return task.set_caching_options(False)

        # Nothing but the pipeline's own inputs goes into a loop: kfp.local 2.17 puts the loop's item in the place of
        # every output of a task.
        begun = fresh(begin_curation(config=config, dataset=dataset, work=work, shard_rows=shard_rows))
        with dsl.ParallelFor(list(range(groups)), name="clean") as group:
            cleaned = fresh(curate_group(work=work, phase="clean", group=group, groups=groups)).after(begun)
        decided = fresh(decide_fates(work=work)).after(cleaned)
        with dsl.ParallelFor(list(range(groups)), name="count") as group:
            counted = fresh(curate_group(work=work, phase="count", group=group, groups=groups)).after(decided)
        done = fresh(finish_curation(work=work, dataset=dataset)).after(counted)
        return Outputs(done.outputs["curated"], done.outputs["report"], done.outputs["version"])

    return curate_in_groups
