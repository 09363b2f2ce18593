"""KFP interface of ``curate``."""

from typing import NamedTuple

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
