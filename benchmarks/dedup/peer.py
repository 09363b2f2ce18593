"""A peer of ``make bench-dedup`` on one file of documents: says which ones it would drop, and what that cost.

``python peer.py NAME TEXTS.jsonl`` prints one line of JSON: ``cpu_s`` of the deduplication without reading the file,
``peak_mb`` and ``base_mb`` of memory, and ``dropped``, the numbers of the documents.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any


def shingles(text: str, words: int) -> list[str]:
    """What both peers are given: the cheapest reading of words that they could be given."""
    found = text.lower().split()
    if len(found) <= words:
        return [" ".join(found)]
    return [" ".join(found[at : at + words]) for at in range(len(found) - words + 1)]


def rensa_flags(texts: Sequence[str], words: int, threshold: float, bands: int | None) -> list[int]:
    """The fastest way of rensa: all documents that share a band with an earlier one."""
    from rensa import RMinHash, RMinHashLSH  # type: ignore[import-not-found]

    matrix = RMinHash.digest_matrix_from_token_sets([shingles(text, words) for text in texts], 128, 42)
    index = RMinHashLSH(threshold, 128, bands or 16)
    flags: list[bool] = index.query_duplicate_flags_matrix_one_shot(matrix)
    return [number for number, flag in enumerate(flags) if flag]


def rensa_stream(texts: Sequence[str], words: int, threshold: float, bands: int | None) -> list[int]:
    """Rensa's deduplicator, which checks candidates by their sketches."""
    from rensa import RMinHashDeduplicator

    index = RMinHashDeduplicator(threshold, 128, True, bands)
    kept = index.add_pairs((str(number), shingles(text, words)) for number, text in enumerate(texts))
    return [number for number, keep in enumerate(kept) if not keep]


def datasketch(texts: Sequence[str], words: int, threshold: float, bands: int | None) -> list[int]:
    """Datasketch as its documentation shows it."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    index = MinHashLSH(params=(bands, 128 // bands)) if bands else MinHashLSH(threshold, 128)
    dropped = []
    for number, text in enumerate(texts):
        sketch = MinHash(128)
        sketch.update_batch([shingle.encode() for shingle in shingles(text, words)])
        if index.query(sketch):
            dropped.append(number)
        else:
            index.insert(number, sketch)
    return dropped


PEERS: dict[str, tuple[Callable[..., list[int]], dict[str, Any]]] = {
    "rensa": (rensa_flags, {"words": 2, "threshold": 0.4, "bands": 32}),
    "rensa deduplicator": (rensa_stream, {"words": 2, "threshold": 0.4, "bands": 32}),
    "rensa n5 t0.7": (rensa_flags, {"words": 5, "threshold": 0.7, "bands": 16}),
    "datasketch": (datasketch, {"words": 2, "threshold": 0.4, "bands": 32}),
}


def memory_mb() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(find: Callable[[Sequence[str]], list[int]], path: Path) -> None:
    """Let ``find`` search a file of documents, and print what came of it."""
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    find(texts[:100])
    base = memory_mb()
    started = time.process_time()
    dropped = find(texts)
    cpu_s = time.process_time() - started
    print(json.dumps({"cpu_s": cpu_s, "base_mb": base, "peak_mb": peak_mb(), "dropped": dropped}))


def main() -> None:
    """Do it once."""
    find, settings = PEERS[sys.argv[1]]
    measure(partial(find, **settings), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
