"""``make bench-pii``: our scanner beside Presidio, in one run.

Standard output holds one JSON line per measurement and one per goal; standard error says what is being done. Every
speed is the median of rounds in which ours and the peers take turns, so that a busy machine slows all of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.lines import Goal, Lines
from benchmarks.pii.score import OTHER, Document, Mark, Score, read_gold, score
from llm_flywheel.components.scan_pii.custom import CustomPattern, CustomRecogniser
from llm_flywheel.components.scan_pii.presidio_names import our_types
from llm_flywheel.components.scan_pii.scanner import Scanner

LINES = Lines("pii")
PEERS = {"presidio+kr": "kr", "presidio trimmed": "trimmed"}
ROUNDS = 5
PEER_DOCUMENTS = 600
"""Presidio sees the first this many documents of each set: 5,000 would take it minutes in every round."""
LONG_BYTES = 10_000_000
SHORT_CHARS = 600
"""About 1 KB of the development set, a third of which is Korean."""
CUSTOM = 100
START = """
import json, sys, time
from llm_flywheel.components.scan_pii.scanner import Scanner
Scanner().scan("010-2345-6789")
print(json.dumps([time.process_time(), [name for name in ("pandas", "torch") if name in sys.modules]]))
"""


class Peer:
    """Presidio in its own environment, kept running between rounds.

    Args:
        python: Interpreter of that environment.
        variant: ``kr`` or ``trimmed``.
    """

    def __init__(self, python: Path, variant: str) -> None:
        script = Path(__file__).with_name("peer.py")
        self._process = subprocess.Popen(
            [python, script, variant], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.start_cpu_s: float = self._answer()["cpu_s"]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def scan(self, texts: Sequence[str]) -> tuple[float, list[list[Mark]]]:
        """CPU seconds, and the spans of every text by our names."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        found = [
            [Mark(start, end, (our_types(kind) or (OTHER,))[0]) for start, end, kind in spans]
            for spans in answer["spans"]
        ]
        return answer["cpu_s"], found

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with status {self._process.wait()}; its own message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def ours(texts: Sequence[str], scan_all: Callable[[Sequence[str]], Any]) -> tuple[float, list[list[Mark]]]:
    """CPU seconds, and the spans of every text."""
    started = time.process_time()
    found = scan_all(texts)
    cpu_s = time.process_time() - started
    return cpu_s, [[Mark(span.start, span.end, span.type) for span in spans] for spans in found]


def compare(name: str, documents: Sequence[Document], peers: dict[str, Peer]) -> tuple[Score, dict[str, float]]:
    """Measure speed and quality on one set.

    Args:
        name: Of the set, before every metric.
        documents: All of them are scanned by us, the first `PEER_DOCUMENTS` by the peers.
        peers: By name.

    Returns:
        Our score on all documents, and how many times faster than each peer we are.
    """
    texts = [document.text for document in documents]
    few = documents[:PEER_DOCUMENTS]
    few_texts = texts[: len(few)]
    scanner = Scanner()
    times: dict[str, list[float]] = {who: [] for who in ("ours", "ours one by one", *peers)}
    spans: dict[str, list[list[Mark]]] = {}
    for number in range(ROUNDS):
        print(f"{name}: round {number + 1} of {ROUNDS}", file=sys.stderr)
        cpu_s, spans["ours"] = ours(texts, scanner.scan_all)
        times["ours"].append(cpu_s / len(texts))
        cpu_s, _ = ours(texts, lambda each: [scanner.scan(text) for text in each])
        times["ours one by one"].append(cpu_s / len(texts))
        for who, peer in peers.items():
            cpu_s, spans[who] = peer.scan(few_texts)
            times[who].append(cpu_s / len(few))
    speed = {who: 1 / statistics.median(taken) for who, taken in times.items()}
    size = statistics.fmean(len(text.encode()) for text in texts) / 1e6
    few_size = statistics.fmean(len(text.encode()) for text in few_texts) / 1e6
    ids = [document.id for document in documents]
    scores = {who: score(few, dict(zip(ids, found, strict=False))) for who, found in spans.items()}
    for who in peers:
        LINES.emit(f"{name}.docs_per_cpu_s", speed["ours"], "docs/CPU-s", who, speed[who])
        LINES.emit(f"{name}.one_by_one.docs_per_cpu_s", speed["ours one by one"], "docs/CPU-s", who, speed[who])
        LINES.emit(f"{name}.mb_per_cpu_s", speed["ours"] * size, "MB/CPU-s", who, speed[who] * few_size)
        for metric, value in qualities(scores["ours"]):
            LINES.emit(
                f"{name}.first{len(few)}.{metric}", value, "share", who, dict(qualities(scores[who])).get(metric, 0.0)
            )
    full = score(documents, dict(zip(ids, spans["ours"], strict=True)))
    for metric, value in qualities(full):
        LINES.emit(f"{name}.all{len(texts)}.{metric}", value, "share")
    return full, {who: speed["ours"] / speed[who] for who in peers}


def qualities(result: Score) -> Iterator[tuple[str, float]]:
    """What is reported of a score."""
    for kind, counts in sorted(result.types.items()):
        if counts.gold:
            yield f"f1.{kind}", counts.f1
    yield "precision.pattern", result.pattern.precision
    yield "recall.pattern", result.pattern.recall
    yield "f1.pattern", result.pattern.f1
    yield "strict_f1.pattern", result.pattern.strict_f1
    yield "leak", result.leak
    yield "over_masking", result.over


def alternating(left: Callable[[], float], right: Callable[[], float]) -> tuple[float, float]:
    """Medians of two measurements that take turns."""
    pairs = [(left(), right()) for _ in range(3)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def flatness(texts: Sequence[str]) -> float:
    """MB per CPU-second on one line of 10 MB over that on the same text in documents of 1 KB."""
    line = " ".join(texts).replace("\n", " ")
    line *= LONG_BYTES // len(line.encode()) + 1
    line = line.encode()[:LONG_BYTES].decode(errors="ignore")
    short = [line[at : at + SHORT_CHARS] for at in range(0, len(line), SHORT_CHARS)]
    scan = Scanner().scan_all
    one, many = alternating(lambda: ours([line], scan)[0], lambda: ours(short, scan)[0])
    megabytes = LONG_BYTES / 1e6
    LINES.emit("line_10mb.mb_per_cpu_s", megabytes / one, "MB/CPU-s", "ours on 1 KB documents", megabytes / many)
    return many / one


def custom_cost(texts: Sequence[str]) -> float:
    """CPU time with 100 custom recognisers over that with none; some of them find something in most documents."""
    shapes = (
        r"\bE%02d-[0-9]{4,6}[A-Z]?\b",
        r"\b[0-9]{3}/%02d/[0-9]{3}\b",
        r"(?:사번|badge) ?%02d[0-9]{4}",
        r"[a-z]+%02d\b",
    )
    recognisers = [
        CustomRecogniser(
            name=f"custom-{number}",
            supported_entity=f"CUSTOM_{number}",
            patterns=[CustomPattern(regex=shapes[number % len(shapes)] % number, score=0.6)],
            context=["badge", "사번"],
        )
        for number in range(CUSTOM)
    ]
    custom, plain = Scanner(custom=recognisers).scan_all, Scanner().scan_all
    with_custom, without = alternating(lambda: ours(texts, custom)[0], lambda: ours(texts, plain)[0])
    count = len(texts)
    LINES.emit("custom_100.docs_per_cpu_s", count / with_custom, "docs/CPU-s", "ours without", count / without)
    return with_custom / without


def start_up(peers: dict[str, Peer]) -> int:
    """CPU seconds of a new process until the first scan, and how many heavy libraries that has imported."""
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", START])) for _ in range(5)]
    seconds = statistics.median(run[0] for run in runs)
    for who, peer in peers.items():
        LINES.emit("start_up", seconds, "CPU-s", who, peer.start_cpu_s)
    heavy: list[str] = runs[0][1]
    LINES.emit("start_up.heavy_imports", len(heavy), "libraries")
    return len(heavy)


def presidio_research(path: Path) -> Iterator[Document]:
    """``presidio_generated_large.json`` by our names; a place (LOCATION) is no address, and a label we lack is none."""
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        gold = [
            Mark(span["start_position"], span["end_position"], our_types(span["entity_type"])[0])
            for span in row["spans"]
            if span["entity_type"] != "LOCATION" and our_types(span["entity_type"])
        ]
        yield Document(str(number), row["full_text"], sorted(gold))


def development(data: Path) -> list[Document]:
    """Documents of the project's generator."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "dev.jsonl"
        generator = data / "pii" / "generate.py"
        subprocess.run([sys.executable, generator, "-n", "5000", "--seed", "1", "-o", made], check=True)
        return list(read_gold(made))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has pii/ and the Presidio set")
    parser.add_argument("--peer-python", type=Path, required=True, help="of the environment that has Presidio")
    arguments = parser.parse_args()
    research = arguments.data / "presidio_generated_large.json"
    if not research.exists():
        parser.exit(2, f"no {research}; say where it is: make bench-pii BENCH_DATA=FOLDER\n")
    print("making the development set, starting the peers", file=sys.stderr)
    documents = development(arguments.data)
    with ExitStack() as stack:
        peers = {name: stack.enter_context(Peer(arguments.peer_python, kind)) for name, kind in PEERS.items()}
        result, faster = compare("dev", documents, peers)
        compare("presidio_generated_large", list(presidio_research(research)), peers)
        heavy = start_up(peers)
    print("one line of 10 MB, then 100 custom recognisers", file=sys.stderr)
    texts = [document.text for document in documents]
    flat, custom = flatness(texts), custom_cost(texts)
    person = result.types["PERSON"]
    goals = (
        Goal("times Presidio with Korean recognisers", faster["presidio+kr"], 60, aim=100),
        Goal("pattern F1 on the development set", result.pattern.f1, 0.99),
        Goal("leak of pattern types", result.leak, 0.01, at_most=True),
        Goal("over-masking", result.over, 0.003, at_most=True),
        Goal("PERSON F1, rules only", person.f1, 0.6),
        Goal("PERSON precision, rules only", person.precision, 0.9),
        Goal("MB/s on one line of 10 MB over documents of 1 KB", flat, 0.9),
        Goal("cost with 100 custom recognisers over none", custom, 2, at_most=True),
        Goal("heavy libraries imported by the scanner", heavy, 0, at_most=True),
    )
    LINES.goals(goals)


if __name__ == "__main__":
    main()
