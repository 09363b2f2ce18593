import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.dataset import row_id, version_of, write_manifest, write_table


def row(text: str, line: int | None = None, source: str = "a.csv", lang: str = "en") -> dict[str, Any]:
    """One row of a dataset, with an answer of two characters."""
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "ok"}]
    meta = json.dumps({} if line is None else {"line": line})
    return {"id": row_id(messages), "messages": messages, "source": source, "lang": lang, "meta": meta}


def write_dataset(
    folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]], step: str = "ingest", **manifest: Any
) -> str:
    """A dataset folder with one Parquet file per table and a manifest; returns the version."""
    rows = [row for table in tables.values() for row in table]
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
    version = version_of(row["id"] for row in rows)
    facts = {"step": step, "version": version, "parent": None, "created": "2026-11-21T10:00:00+00:00"}
    write_manifest(folder, {**facts, "made_by": "eva", "run_id": "", "rows_out": len(rows), **manifest})
    return version
