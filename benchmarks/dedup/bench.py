"""``make bench-dedup``: our search for near-duplicates beside rensa and datasketch, in one run.

Every measurement is a process of its own with one thread, on the same file of documents with planted copies (`corpus`).
Precision and recall are those of the planted copies; a peer that flags the original beside its copy is not blamed for
it. Memory is what the search adds to a process that holds the texts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.dedup.corpus import KINDS, documents
from benchmarks.lines import Goal, Lines

LINES = Lines("dedup")
OURS = ("ours", "ours t0.8")
"""At the threshold for edited copies, and at the one `curate` has for chats."""
THRESHOLDS = {"ours": 0.45, "ours t0.8": 0.8}
PEERS = ("rensa", "rensa deduplicator", "rensa n5 t0.7", "datasketch")
FASTER = {"rensa": (3, 5), "rensa deduplicator": (3, 5), "datasketch": (10, None)}
"""How many times faster than a peer we want to be at least, and would like to be."""


class Found(NamedTuple):
    """What one process found and used."""

    cpu_s: float
    kb_per_document: float
    precision: float
    recall: float
    by_kind: dict[str, float]

    @property
    def f1(self) -> float:
        """Of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)


class Corpus:
    """A file of documents.

    Args:
        count: How many.
        folder: Where to write it.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.count = count
        self.path = folder / f"{count}.jsonl"
        self._copies: dict[int, str] = {}
        self._originals = set()
        with self.path.open("w", encoding="utf-8") as file:
            for number, document in enumerate(documents(count)):
                file.write(json.dumps({"text": document.text}, ensure_ascii=False) + "\n")
                if document.copy_of >= 0:
                    self._copies[number] = document.kind
                    self._originals.add(document.copy_of)

    def run(self, who: str, peer_python: Path) -> Found:
        """Let one of us search."""
        own = who in THRESHOLDS
        peer = Path(__file__).with_name("peer.py")
        command = [sys.executable, "-m", "benchmarks.dedup.ours"] if own else [str(peer_python), str(peer)]
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("RAYON", "OMP", "OPENBLAS")}
        answer = subprocess.run(
            [*command, str(THRESHOLDS.get(who, who)), str(self.path)],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, **one_thread},
        )
        return self._score(json.loads(answer.stdout))

    def _score(self, answer: dict[str, Any]) -> Found:
        dropped = set(answer["dropped"])
        right = self._copies.keys() & dropped
        wrong = dropped - self._copies.keys() - self._originals
        by_kind = {
            kind: sum(self._copies[number] == kind for number in right) / max(1, total)
            for kind in KINDS
            for total in [sum(own == kind for own in self._copies.values())]
        }
        return Found(
            answer["cpu_s"],
            (answer["peak_mb"] - answer["base_mb"]) * 1000 / self.count,
            len(right) / max(1, len(right) + len(wrong)),
            len(right) / max(1, len(self._copies)),
            by_kind,
        )


def measure(corpus: Corpus, names: Sequence[str], peer_python: Path, rounds: int) -> Iterator[tuple[str, Found]]:
    """Let all search in turns; the CPU time of each is the median."""
    found: dict[str, list[Found]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            print(f"{corpus.count:,} documents, round {number + 1} of {rounds}: {name}", file=sys.stderr)
            found[name].append(corpus.run(name, peer_python))
    for name, each in found.items():
        yield name, each[0]._replace(cpu_s=statistics.median(one.cpu_s for one in each))


def report(corpus: Corpus, found: dict[str, Found]) -> None:
    """Print all numbers, ours beside each peer's."""
    size = f"{corpus.count // 1000}k"
    for own in OURS:
        ours = found[own]
        for kind, share in ours.by_kind.items():
            LINES.emit(f"{size}.{own}.recall.{kind}", share, "share")
        for name, peer in found.items():
            if name in OURS:
                continue
            LINES.emit(f"{size}.{own}.speed", corpus.count / ours.cpu_s, "docs/CPU-s", name, corpus.count / peer.cpu_s)
            LINES.emit(f"{size}.{own}.memory", ours.kb_per_document, "KB/doc", name, peer.kb_per_document)
            for metric in ("precision", "recall", "f1"):
                LINES.emit(f"{size}.{own}.{metric}", getattr(ours, metric), "share", name, getattr(peer, metric))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, required=True, help="of the environment that has the peers")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    arguments = parser.parse_args()
    goals: list[Goal] = []
    for count in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(f"making {count:,} documents", file=sys.stderr)
            corpus = Corpus(count, Path(folder))
            found = dict(
                measure(corpus, [*OURS, *arguments.peers], arguments.peer_python, 3 if count <= 100_000 else 1)
            )
        report(corpus, found)
        ours = found["ours"]
        for peer, (target, aim) in FASTER.items():
            if peer in found:
                faster = found[peer].cpu_s / ours.cpu_s
                goals.append(Goal(f"times {peer} on {count:,} documents", faster, target, aim=aim))
        goals.append(Goal(f"F1 on {count:,} documents", ours.f1, 0.985))
        goals.append(Goal(f"precision on {count:,} documents", ours.precision, 0.999))
        goals.append(Goal(f"KB per document at {count:,}", ours.kb_per_document, 5, at_most=True))
    LINES.goals(goals)


if __name__ == "__main__":
    main()
