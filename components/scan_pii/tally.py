"""What a scan counted: of a batch in one process, and of all batches together."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm_flywheel.components.scan_pii.report import BANDS, Sample, sample_of
from llm_flywheel.components.scan_pii.spans import PiiType, Span


def band(score: float) -> str:
    """The band of `BANDS` that a score falls into."""
    return BANDS[max(0, min(9, int(score * 10 + 1e-9)) - 4)]


def _counters() -> defaultdict[str, Counter[PiiType]]:
    return defaultdict(Counter)


@dataclass
class Tally:
    """Counts and a few masked samples.

    Attributes:
        most_samples: Samples kept per type.
        rows: Rows scanned.
        rows_found: Rows in which something was found.
        rows_changed: Rows in which something was replaced.
        found: Spans by type.
        masked: Replaced spans by type.
        by_source: Spans by source and type.
        by_band: Spans by `band` of their score and type.
        samples: Samples by type, the first ones of the input.
    """

    most_samples: int = 5
    rows: int = 0
    rows_found: int = 0
    rows_changed: int = 0
    found: Counter[PiiType] = field(default_factory=Counter)
    masked: Counter[PiiType] = field(default_factory=Counter)
    by_source: defaultdict[str, Counter[PiiType]] = field(default_factory=_counters)
    by_band: defaultdict[str, Counter[PiiType]] = field(default_factory=_counters)
    samples: defaultdict[PiiType, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def add(self, text: str, spans: Sequence[Span], source: str, row: str) -> None:
        """Count what was found in one text of a row."""
        by_source = self.by_source[source]
        for span in spans:
            kind = span.type
            self.found[kind] += 1
            by_source[kind] += 1
            self.by_band[band(span.score)][kind] += 1
            samples = self.samples[kind]
            if len(samples) < self.most_samples:
                samples.append(sample_of(text, span, source, row))

    def merge(self, other: "Tally") -> None:
        """Add what was counted in a later part of the input."""
        self.rows += other.rows
        self.rows_found += other.rows_found
        self.rows_changed += other.rows_changed
        self.found.update(other.found)
        self.masked.update(other.masked)
        for mine, theirs in ((self.by_source, other.by_source), (self.by_band, other.by_band)):
            for key, counts in theirs.items():
                mine[key].update(counts)
        for kind, samples in other.samples.items():
            self.samples[kind] += samples[: self.most_samples - len(self.samples[kind])]
