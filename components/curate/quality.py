"""What the data looks like: a tally per shard that merges, whose size does not grow with the number of rows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.filters import Conversation, Phrases
from llm_flywheel.components.curate.rows import Row

_EXAMPLES = 3
# Measured in November 2026 on Banking77, chatbot_ko and this repository's Markdown and Python with two tokenizers,
# Qwen's and Mistral's Tekken: 3.9 to 4.3 characters a token, and .84 to .99 tokens a Hangul character.
_CHARS_PER_TOKEN = 4
_TOKENS_PER_HANGUL = 0.85

TokenCounter = Callable[[str], int]


@dataclass
class Histogram:
    """Counts of numbers from 0, exact up to 63 and in 32 steps per doubling above (as HdrHistogram does).

    Attributes:
        counts: How many numbers fell into each bin.
        total: How many there were.
        sum: Their sum.
        largest: The largest.
    """

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    sum: int = 0
    largest: int = 0

    def add(self, value: int) -> None:
        """Count one number."""
        shift = max(0, value.bit_length() - 6)
        self.counts[32 * shift + (value >> shift)] += 1
        self.total += 1
        self.sum += value
        self.largest = max(self.largest, value)

    def merge(self, other: "Histogram") -> None:
        """Add the numbers of another histogram."""
        self.counts.update(other.counts)
        self.total += other.total
        self.sum += other.sum
        self.largest = max(self.largest, other.largest)

    def bins(self) -> list[tuple[int, int, int]]:
        """Per bin its first number, the first number after it, and its count; in order."""
        result = []
        for index in sorted(self.counts):
            shift = max(0, index // 32 - 1)
            first = (index - 32 * shift) << shift
            result.append((first, first + (1 << shift), self.counts[index]))
        return result

    def quantile(self, share: float) -> float:
        """The number below or at which a share of all numbers lies; within 1.6 % above 63.

        Raises:
            ValueError: There are no numbers.
        """
        if not self.total:
            raise ValueError("no numbers")
        rank, seen = share * self.total, 0
        for first, end, count in self.bins():
            seen += count
            if seen >= rank:
                return min((first + end - 1) / 2, self.largest)
        return self.largest

    def summary(self) -> dict[str, float]:
        """Mean, median, 95th percentile and largest of what was counted, with its number as ``count``."""
        if not self.total:
            return {"count": 0}
        return {
            "count": self.total,
            "mean": round(self.sum / self.total, 1),
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "longest": self.largest,
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON."""
        counts = {str(index): self.counts[index] for index in sorted(self.counts)}
        return {"counts": counts, "total": self.total, "sum": self.sum, "largest": self.largest}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        counts = Counter({int(index): count for index, count in value["counts"].items()})
        return cls(counts, value["total"], value["sum"], value["largest"])


MEASURES = ("user_chars", "assistant_chars", "turns", "tokens")


class Quality:
    """A tally of kept and dropped rows.

    Args:
        config: How to count tokens and which words to flag; only `add` needs it.

    Attributes:
        languages: Kept rows by split and language.
        sources: Kept rows by split and source.
        source_tokens: Tokens of the kept rows by source.
        source_drops: Dropped rows by source, as far as `dropped` was told it.
        histograms: By name in `MEASURES`: characters per message, user messages and tokens per conversation.
        missing: Kept rows without a system message, language, source or meta.
        flagged: Kept rows by the word list that they are on.
        reasons: Dropped rows by reason.
        examples: A few ids of dropped and flagged rows by reason or word list, the smallest ones.
    """

    def __init__(self, config: CurateConfig | None = None) -> None:
        self._config = config or CurateConfig()
        self.languages: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.sources: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.source_tokens: Counter[str] = Counter()
        self.source_drops: Counter[str] = Counter()
        self.histograms = {name: Histogram() for name in MEASURES}
        self.missing: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    @cached_property
    def _count_tokens(self) -> TokenCounter:
        return token_counter(self._config.tokenizer)

    @cached_property
    def _flags(self) -> Phrases:
        return Phrases(self._config, "flag")

    @property
    def rows(self) -> int:
        """Kept rows."""
        return self.histograms["turns"].total

    def add(self, row: Row, split: str = "train") -> None:
        """Count a kept row."""
        roles: Counter[str] = Counter()
        tokens = 0
        for message in row.messages:
            role, text = message["role"], message["content"]
            roles[role] += 1
            tokens += self._count_tokens(text)
            if role in ("user", "assistant"):
                self.histograms[f"{role}_chars"].add(len(text))
        self.histograms["turns"].add(roles["user"])
        self.histograms["tokens"].add(tokens)
        self.languages[split][row.lang] += 1
        self.sources[split][row.source] += 1
        self.source_tokens[row.source] += tokens
        have = {
            "system message": roles["system"],
            "language": row.lang not in ("", "und"),
            "source": row.source,
            "meta": row.meta not in ("", "{}"),
        }
        self.missing.update(name for name, there in have.items() if not there)
        for name in self._flags.all(Conversation(row.messages, row.lang)):
            self.flagged[name] += 1
            self._example(name, row.id)

    def dropped(self, reason: str, row_id: str = "", source: str = "") -> None:
        """Count a dropped row."""
        self.reasons[reason] += 1
        if row_id:
            self._example(reason, row_id)
        if source:
            self.source_drops[source] += 1

    def _example(self, name: str, *ids: str) -> None:
        self.examples[name] = sorted({*self.examples.get(name, ()), *ids})[:_EXAMPLES]

    def merge(self, other: "Quality") -> None:
        """Add what was counted elsewhere; the order of merging does not matter."""
        for mine, theirs in ((self.languages, other.languages), (self.sources, other.sources)):
            for split, counts in theirs.items():
                mine[split].update(counts)
        self.source_tokens.update(other.source_tokens)
        self.source_drops.update(other.source_drops)
        self.missing.update(other.missing)
        self.flagged.update(other.flagged)
        self.reasons.update(other.reasons)
        for name, histogram in self.histograms.items():
            histogram.merge(other.histograms[name])
        for name, ids in other.examples.items():
            self._example(name, *ids)

    def lengths(self) -> dict[str, dict[str, float]]:
        """Summary of each measure."""
        return {name: histogram.summary() for name, histogram in self.histograms.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "languages": {split: _sorted(counts) for split, counts in sorted(self.languages.items())},
            "sources": {split: _sorted(counts) for split, counts in sorted(self.sources.items())},
            "source_tokens": _sorted(self.source_tokens),
            "source_drops": _sorted(self.source_drops),
            "histograms": {name: histogram.to_dict() for name, histogram in self.histograms.items()},
            "missing": _sorted(self.missing),
            "flagged": _sorted(self.flagged),
            "reasons": _sorted(self.reasons),
            "examples": dict(sorted(self.examples.items())),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        own = cls()
        for mine, theirs in ((own.languages, value["languages"]), (own.sources, value["sources"])):
            mine.update({split: Counter(counts) for split, counts in theirs.items()})
        own.source_tokens = Counter(value["source_tokens"])
        own.source_drops = Counter(value["source_drops"])
        own.missing = Counter(value["missing"])
        own.flagged = Counter(value["flagged"])
        own.reasons = Counter(value["reasons"])
        own.histograms = {name: Histogram.from_dict(value["histograms"][name]) for name in MEASURES}
        own.examples = {name: list(ids) for name, ids in value["examples"].items()}
        return own


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def token_counter(folder: str) -> TokenCounter:
    """How to count the tokens of a text: with the tokenizer in a folder, or estimated when ``folder`` is empty.

    Raises:
        FlywheelError: There is no ``tokenizer.json`` that can be read, or the library is not installed.
    """
    if not folder:
        return estimated_tokens
    path = Path(folder) / "tokenizer.json"
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
    except ImportError:
        raise FlywheelError(
            "the tokenizers library is not installed",
            where="curate.tokenizer",
            fix="pip install 'llm-flywheel[train]', or leave the key empty",
            reason="tokenizer",
        ) from None
    except Exception as error:  # the library raises bare exceptions
        raise FlywheelError(
            f"{path} is no tokenizer that can be read: {error}",
            where="curate.tokenizer",
            fix="give the folder of a model with a tokenizer.json, or leave the key empty",
            reason="tokenizer",
        ) from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: one per four characters, and .85 per Hangul (or other wide) character.

    Within 10 % of Qwen's and Mistral's tokenizers on the sum over English, Korean, Markdown and Python texts.
    """
    wide = (len(text.encode("utf-8", "surrogatepass")) - len(text)) / 2  # such a character takes three bytes
    return round((len(text) - wide) / _CHARS_PER_TOKEN + wide * _TOKENS_PER_HANGUL) or bool(text)
