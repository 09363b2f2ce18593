"""The HTML page of ``ingest``: every row read is in one of its lines."""

from pathlib import Path

from llm_flywheel.components.common.report import Page
from llm_flywheel.components.ingest.counts import IngestResult


def write_report(result: IngestResult, path: Path) -> None:
    """Write the page for one run.

    Args:
        result: Counts of the run.
        path: Where to write it.
    """
    quarantined = result.quarantined.total()
    page = Page(
        "Ingest",
        f"{result.rows_in:,} rows read = {result.rows_out:,} written + {quarantined:,} quarantined",
    )
    page.heading("Files")
    page.table(
        ["file", "kind", "encoding", "format", "split", "read", "written", "quarantined"],
        [
            [
                count.name,
                count.kind,
                count.encoding,
                ", ".join(count.layouts),
                count.split or "train",
                count.rows_in,
                count.rows_out,
                count.quarantined.total(),
            ]
            for count in result.files
        ],
    )
    page.heading("Quarantined rows by reason")
    if quarantined:
        page.table(["reason", "rows"], [list(item) for item in result.quarantined.most_common()])
        page.text("File, line and detail of each row are in quarantine.parquet. An unreadable file counts as one row.")
    else:
        page.text("None.")
    page.heading("Written rows by language")
    page.table(["language", "rows"], [list(item) for item in result.languages.most_common()])
    if result.ignored:
        page.heading("Files that were not read")
        page.text("They are of an unknown kind, hidden, or texts beside tables: " + ", ".join(result.ignored))
    page.write(path)
