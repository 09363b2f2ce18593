"""KFP interface of ``ingest``."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def ingest(
    config: dict,
    dataset: dsl.Output[dsl.Dataset],
    quarantine: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Ingested", [("version", str)]):
    """Read files of any supported kind into one dataset table; what cannot be read goes to quarantine.

    Args:
        config: The ``ingest`` section.
        dataset: Folder with data.parquet and manifest.json.
        quarantine: Folder with quarantine.parquet: file, line, reason and detail of each unusable row.
        report: Page with the counts per file and reason.
        metrics: Rows in, out and quarantined per reason.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.ingest.config import IngestConfig
    from llm_flywheel.components.ingest.ingest import run

    with step("ingest") as record:
        result = run(
            bind(IngestConfig, config, where="ingest"), Path(dataset.path), Path(quarantine.path), Path(report.path)
        )
        quarantined = sum(result.quarantined.values())
        record.summary.update(rows_in=result.rows_in, rows_out=result.rows_out, quarantined=quarantined)
        record.report(report.path)
        metrics.log_metric("rows_in", result.rows_in)
        metrics.log_metric("rows_out", result.rows_out)
        metrics.log_metric("quarantined", quarantined)
        for reason, rows in sorted(result.quarantined.items()):
            metrics.log_metric(f"quarantined_{reason}", rows)
        dataset.metadata["version"] = result.version
    return (result.version,)
