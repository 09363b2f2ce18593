"""Our part of ``make bench-dedup``; does and prints what `peer` says."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.dedup.peer import measure
from llm_flywheel.components.curate.neighbours import first_of_each, similar_pairs
from llm_flywheel.components.curate.shingles import shingle_sets


def duplicates(texts: Sequence[str], threshold: float) -> list[int]:
    """The numbers of the texts that are similar to a kept earlier one."""
    return sorted(first_of_each(similar_pairs(shingle_sets(texts, 2), threshold)))


if __name__ == "__main__":
    measure(partial(duplicates, threshold=float(sys.argv[1])), Path(sys.argv[2]))
