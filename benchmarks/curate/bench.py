"""``make bench-curate``: what the whole of ``curate`` costs per row, from 10 thousand to a million rows."""

import argparse
import json
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.dedup.corpus import documents
from benchmarks.lines import Goal, Lines
from benchmarks.process import Used, run
from llm_flywheel.components.common.dataset import TableWriter, row_id, write_manifest

LINES = Lines("curate")
OURS = """
import sys
from pathlib import Path
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.curate import run
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run(CurateConfig(), folder / "in", folder / "out", folder / "report.html", work=folder / "work")
"""


def write_dataset(folder: Path, count: int) -> None:
    """Chats of one question and one answer, 760 characters on average; a fifth are copies."""
    with TableWriter(folder / "data.parquet") as table:
        for number, document in enumerate(documents(count)):
            question, _, answer = document.text.partition(". ")
            messages = [{"role": "user", "content": f"{question}?"}, {"role": "assistant", "content": answer}]
            source = f"{number % 3}.jsonl"
            table.add({"id": row_id(messages), "messages": messages, "source": source, "lang": "ko", "meta": "{}"})
    write_manifest(folder, {"step": "ingest", "rows_in": count, "quarantined": {}})


def measure(count: int) -> Used:
    """Curate one data set once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"making {count:,} rows", file=sys.stderr)
        write_dataset(folder / "in", count)
        script = folder / "ours.py"
        script.write_text(OURS, encoding="utf-8")
        used = run([sys.executable, str(script), name])
        manifest = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))
        for search, rows in manifest["uncompared"].items():
            LINES.emit(f"{count}.uncompared.{search}", rows, "rows")
        return used


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    measure(1_000)  # the first start waits for the compiler
    taken: list[tuple[int, float]] = []
    for count in arguments.sizes:
        rounds = [measure(count) for _ in range(3 if count <= 100_000 else 1)]
        used = Used(*map(statistics.median, zip(*rounds, strict=True)))
        taken.append((count, used.cpu_s))
        LINES.emit(f"{count}.ms_per_row", 1000 * used.cpu_s / count, "CPU-ms/row")
        LINES.emit(f"{count}.rows_per_s", count / used.wall_s, "rows/s")
        LINES.emit(f"{count}.peak_memory", used.peak_mb, "MB")
    # Between two sizes, so that the start of the processes does not count.
    more = [(cpu - less) / (count - fewer) for (fewer, less), (count, cpu) in pairwise(taken)]
    for (count, _), cost in zip(taken[1:], more, strict=True):
        LINES.emit(f"{count}.ms_per_further_row", 1000 * cost, "CPU-ms/row")
    if len(more) > 1:
        flat = max(more) / min(more)
        LINES.goals([Goal("cost of a further row, largest over smallest", flat, 1.2, at_most=True)])


if __name__ == "__main__":
    main()
