"""``make bench-ingest``: read a large JSONL and a large CSV file, beside Hugging Face datasets, in one run.

``datasets`` writes the columns as they are; ours finds the mapping, makes chats of them, checks, normalises and names
every row, tells its language, and keeps what cannot be used.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.dedup.corpus import documents
from benchmarks.lines import Lines
from benchmarks.process import Used, run

LINES = Lines("ingest")
ROUNDS = 3
OURS = """
import sys
from pathlib import Path
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.ingest import run
out = Path(sys.argv[2])
run(IngestConfig(paths=[sys.argv[1]]), out / "dataset", out / "quarantine", out / "report.html")
"""
PEER = """
import sys
from datasets import load_dataset
kind = sys.argv[1].rpartition(".")[2].replace("jsonl", "json")
load_dataset(kind, data_files=sys.argv[1], cache_dir=sys.argv[2])
"""


def write_rows(path: Path, size: float) -> int:
    """Write questions and answers until the file has ``size`` bytes.

    Returns:
        How many rows.
    """
    texts = [document.text for document in documents(20_000)]
    names = ("id", "question", "answer", "topic")
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if path.suffix == ".csv":
            table.writerow(names)
        while file.tell() < size:
            for number in range(1_000):
                question = f"{rows}: {texts[(rows + 7) % len(texts)][:100]}?"
                values = (rows, question, texts[rows % len(texts)], f"topic {number % 40}")
                if path.suffix == ".csv":
                    table.writerow(values)
                else:
                    file.write(json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n")
                rows += 1
    return rows


def measure(script: str, path: Path) -> Used:
    """Run one of us once; what it writes is removed."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        return run([sys.executable, "-c", script, str(path), folder])


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, nargs="+", default=[1], help="sizes of the files")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peer", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    for size in arguments.gb:
        for suffix in ("jsonl", "csv"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"rows.{suffix}"
                print(f"writing {size:g} GB of {suffix}", file=sys.stderr)
                rows = write_rows(path, size * 1e9)
                pairs = [
                    (measure(OURS, path), measure(PEER, path) if arguments.peer else None)
                    for _ in range(arguments.rounds)
                ]
            report(f"{suffix}_{size:g}gb", rows, [own for own, _ in pairs], [peer for _, peer in pairs if peer])


def report(name: str, rows: int, ours: Sequence[Used], peers: Sequence[Used]) -> None:
    """Print the medians, beside the peer's where it ran."""
    middle = [Used(*map(statistics.median, zip(*each, strict=True))) for each in (ours, peers) if each]
    emit = partial(LINES.emit, peer="datasets" if peers else None)
    for metric, unit, values in (
        ("rows_per_s", "rows/s", [rows / used.wall_s for used in middle]),
        ("rows_per_cpu_s", "rows/CPU-s", [rows / used.cpu_s for used in middle]),
        ("peak_memory", "MB", [used.peak_mb for used in middle]),
    ):
        emit(f"{name}.{metric}", values[0], unit, peer_value=values[1] if peers else None)


if __name__ == "__main__":
    main()
