"""KFP interface of ``scan_pii``."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def scan_pii(
    config: dict,
    dataset: dsl.Input[dsl.Dataset],
    masked: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Scanned", [("passed", bool), ("reason", str)]):
    """Mask personal data and secrets, scan the result again, and say whether it may go on.

    Args:
        config: The ``scan_pii`` section.
        dataset: Folder with data.parquet and manifest.json.
        masked: The same folder after masking; row ids follow the new content.
        report: Page with counts per type and source and masked samples.
        metrics: Rows changed, spans found, replaced and remaining.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.scan_pii.config import ScanPiiConfig
    from llm_flywheel.components.scan_pii.scan_pii import run

    with step("scan_pii") as record:
        result = run(
            bind(ScanPiiConfig, config, where="scan_pii"), Path(dataset.path), Path(masked.path), Path(report.path)
        )
        found, replaced, left = (sum(counts.values()) for counts in (result.found, result.masked, result.remaining))
        record.summary.update(found=found, masked=replaced, remaining=left, verdict=result.reason)
        record.report(report.path)
        metrics.log_metric("rows", result.rows)
        metrics.log_metric("rows_changed", result.rows_changed)
        metrics.log_metric("pii_found", found)
        metrics.log_metric("pii_masked", replaced)
        metrics.log_metric("pii_remaining", left)
        for kind, spans in sorted(result.found.items()):
            metrics.log_metric(f"found_{kind.lower()}", spans)
        masked.metadata["version"] = result.version
    return (result.passed, result.reason)
