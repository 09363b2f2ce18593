"""Our part of ``make bench-dedup``; does and prints what `peer` says."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.dedup.peer import memory_mb, peak_mb
from llm_flywheel.components.curate.neighbours import first_of_each, similar_pairs
from llm_flywheel.components.curate.shingles import shingle_sets


def duplicates(texts: Sequence[str], threshold: float) -> list[int]:
    """The numbers of the texts that are similar to a kept earlier one."""
    return sorted(first_of_each(similar_pairs(shingle_sets(texts, 2), threshold)))


def main() -> None:
    """Do it once."""
    threshold = float(sys.argv[1])
    with Path(sys.argv[2]).open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    duplicates(texts[:100], threshold)
    base = memory_mb()
    started = time.process_time()
    dropped = duplicates(texts, threshold)
    cpu_s = time.process_time() - started
    print(json.dumps({"cpu_s": cpu_s, "base_mb": base, "peak_mb": peak_mb(), "dropped": dropped}))


if __name__ == "__main__":
    main()
