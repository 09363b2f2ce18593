"""Which training rows hold a text that a model is later evaluated on.

An evaluation text is cut into all its sequences of 13 words, as in GPT-3 (Brown et al. 2020, arXiv:2005.14165,
appendix C). A row that holds at least ``min_overlap`` of them is contaminated: a copy with a few edits, or a long text
that quotes the item, but not a text that shares one phrase. A text of 8 to 12 words must be quoted in full: of short
questions that share 8 words in a row, many ask for different things ("how long will it take to get to the US / to me").
Sequences that more than ``max_items`` items share are templates ("Answer the following question …") and do not count.

Words are compared without case, punctuation and white space. Every Hangul, Kana or Han character is a word of its
own, and twice as many of them make a sequence, so that Korean is found whatever its spacing. Texts below 8 words are
found as a whole message only, and below 4 words (8 characters) not at all: "yes" gives nothing away. Near copies of
short held-out questions are the near-duplicate search's to find (reason ``leaks_into_test``).
"""

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig, Decontamination, EvalSet
from llm_flywheel.components.curate.kernels import U32, U64

F32 = NDArray[np.float32]

_LEAST_WORDS = 4
_CHARS_PER_WORD = 2
_CHARS = "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_WORD = re.compile(rf"[{_CHARS}]|[^\W_{_CHARS}]+")
_CHAR = re.compile(f"[{_CHARS}]")

_MAX_CHARS = 10_000_000
_COLUMNS = {"messages", "conversations", "question", "query", "prompt", "instruction", "input", "context", "passage"}
_COLUMNS |= {"problem", "sentence", "text", "answer", "solution", "response", "completion", "output"}

# Odd, so that it has an inverse modulo 2^64; the 64 bits of the golden ratio (Knuth, TAOCP 3, 6.4).
_BASE = 0x9E3779B97F4A7C15
_KNOWN_WORDS = 200_000
_NOTHING: U64 = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Item:
    """One evaluation item: what to call it, and its texts."""

    name: str
    texts: Sequence[str]


class Contamination:
    """An index of evaluation texts: 12 bytes per sequence, sorted.

    Args:
        hashes: Hashes of sequences, sorted.
        units: Per hash the number of the text that it comes from.
        sizes: Per text its number of sequences.
        least: Per text the share of its sequences that a row must hold.
        names: Per text the name of its item.
        lengths: Lengths of the sequences in the index, in words.
        summary: What was indexed, for the manifest: items, texts, sequences, templates, too_short.
    """

    def __init__(
        self,
        hashes: U64,
        units: U32,
        sizes: U32,
        least: F32,
        names: Sequence[str],
        lengths: Sequence[int],
        summary: dict[str, int],
    ) -> None:
        self.summary = summary
        self._hashes, self._units, self._sizes, self._least = hashes, units, sizes, least
        self._names, self._lengths = names, lengths
        self._sequences = _Sequences()

    @property
    def nbytes(self) -> int:
        """Bytes of the index in memory, without the names."""
        return self._hashes.nbytes + self._units.nbytes + self._sizes.nbytes + self._least.nbytes

    @classmethod
    def from_config(cls, config: CurateConfig, folder: Path, held_out: Iterable[Item] = ()) -> Self | None:
        """The index of the config's evaluation sets and the held-out rows, or None when there is nothing to look for.

        Args:
            config: Names the evaluation sets.
            folder: The run's own folder, which keeps the index: the first call builds it, later ones, also those of
                other processes, read it and need no ``held_out``.
            held_out: User texts of the held-out rows. Answers do not count there: one answer may fit many questions.

        Raises:
            FlywheelError: An evaluation set cannot be read completely, or has no column with text.
        """
        own = config.decontamination
        path = folder / f"contamination-{xxhash.xxh3_64_hexdigest(own.model_dump_json().encode())}.npz"
        if not path.exists():
            eval_items = (item for eval_set in own.eval_sets for item in _read_set(eval_set))
            index = cls.of(chain(eval_items, held_out if own.held_out else ()), own)
            if not index.summary["items"]:
                return None
            index._save(path)
        return cls._load(path)

    @classmethod
    def of(cls, items: Iterable[Item], config: Decontamination) -> Self:
        """The index of some items."""
        summary = Counter(items=0, texts=0, too_short=0)
        texts = list(_cut(items, config, summary))
        hashes = np.concatenate([_NOTHING, *(text.hashes for text in texts)])
        units = np.repeat(np.arange(len(texts), dtype=np.uint32), [len(text.hashes) for text in texts])
        order = np.argsort(hashes, kind="stable")
        hashes, units = hashes[order], units[order]
        items_with_it = np.unique(hashes, return_counts=True)[1]
        whole = np.array([text.length == 0 for text in texts], bool)
        keep = np.repeat(items_with_it <= config.max_items, items_with_it) | whole[units]
        summary.update(sequences=int(keep.sum()), templates=int((~keep).sum()))
        # Of texts that are the same word for word the first one is named: `find` needs no other.
        keep[1:] &= ~(whole[units[1:]] & (hashes[1:] == hashes[:-1]))
        sizes = np.bincount(units[keep], minlength=len(texts)).astype(np.uint32)
        least = np.array([text.least for text in texts], np.float32)
        lengths = sorted({text.length for text in texts})
        return cls(hashes[keep], units[keep], sizes, least, [text.name for text in texts], lengths, dict(summary))

    def find(self, texts: Sequence[str]) -> str | None:
        """The name of the evaluation item that the texts of a row overlap most, or None."""
        parts = [self._sequences.of(_words(text), self._lengths) for text in texts]
        hashes = np.concatenate([_NOTHING, *parts])
        places = np.searchsorted(self._hashes, hashes)
        found = hashes[self._hashes.take(places, mode="clip") == hashes] if len(self._hashes) else _NOTHING
        if not len(found):
            return None
        found = np.unique(found)
        ranges = zip(*(np.searchsorted(self._hashes, found, side) for side in ("left", "right")), strict=True)
        units, counts = np.unique(np.concatenate([self._units[a:b] for a, b in ranges]), return_counts=True)
        overlaps = counts / self._sizes[units]
        overlaps[overlaps < self._least[units]] = 0
        best = int(np.argmax(overlaps))
        return self._names[units[best]] if overlaps[best] else None

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.stem}.{os.getpid()}.new.npz")
        text = json.dumps({"names": self._names, "lengths": self._lengths, "summary": self.summary})
        np.savez(
            new,
            hashes=self._hashes,
            units=self._units,
            sizes=self._sizes,
            least=self._least,
            text=np.frombuffer(text.encode(), np.uint8),
        )
        new.replace(path)

    @classmethod
    def _load(cls, path: Path) -> Self:
        with np.load(path) as arrays:
            hashes, units, sizes, least = (arrays[name] for name in ("hashes", "units", "sizes", "least"))
            text = json.loads(arrays["text"].tobytes())
        return cls(hashes, units, sizes, least, text["names"], text["lengths"], text["summary"])


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


class _Text(NamedTuple):
    """A text of an item, cut into sequences of ``length`` words (0: the whole); ``least`` of them give it away."""

    name: str
    length: int
    least: float
    hashes: U64


def _cut(items: Iterable[Item], config: Decontamination, summary: Counter[str]) -> Iterator[_Text]:
    sequences = _Sequences()
    for item in items:
        summary["items"] += 1
        for words in filter(None, map(_words, item.texts)):
            scale = _CHARS_PER_WORD if 2 * sum(map(bool, map(_CHAR.match, words))) > len(words) else 1
            if len(words) < scale * _LEAST_WORDS:
                summary["too_short"] += 1
                continue
            fits = (n for n in (config.words, config.short_words) if len(words) >= scale * n)
            length = scale * next(fits, 0)
            least = config.min_overlap if length == scale * config.words or not config.min_overlap else 1.0
            summary["texts"] += 1
            yield _Text(item.name, length, least, np.unique(sequences.of(words, [length])))


class _Sequences:
    """Hashes of all sequences of words of some lengths, each from one running sum (Rabin-Karp modulo 2^64)."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._powers, self._inverse = _NOTHING, _NOTHING

    def of(self, words: Sequence[str], lengths: Sequence[int]) -> U64:
        """Hashes of the sequences of each length, 0 for the whole text; in no order, with repetitions."""
        count = len(words)
        if count < _LEAST_WORDS:
            return _NOTHING
        self._reach(count)
        values = np.fromiter(map(self._word, words), np.uint64, count)
        sums = np.zeros(count + 1, np.uint64)
        np.cumsum(values * self._powers[:count], out=sums[1:])
        parts = []
        for length in lengths:
            size = length or count
            if count >= size:
                part = (sums[size:] - sums[: count + 1 - size]) * self._inverse[: count + 1 - size]
                parts.append(part + np.uint64(length))
        return np.concatenate(parts) if parts else _NOTHING

    def _word(self, word: str) -> int:
        value = self._words.get(word)
        if value is None:
            if len(self._words) >= _KNOWN_WORDS:
                self._words.clear()
            value = self._words[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        return value

    def _reach(self, count: int) -> None:
        if count >= len(self._powers):
            size = max(1_024, 2 * count)
            powers = np.full(size, _BASE, np.uint64)
            inverse = np.full(size, pow(_BASE, -1, 1 << 64), np.uint64)
            powers[0] = inverse[0] = 1
            self._powers, self._inverse = np.cumprod(powers), np.cumprod(inverse)


def _read_set(own: EvalSet) -> Iterator[Item]:
    from llm_flywheel.components.ingest.files import find_files
    from llm_flywheel.components.ingest.readers import Broken, open_records

    def knows(columns: Sequence[str]) -> bool:
        return any(name in own.columns or name.lower() in _COLUMNS for name in columns)

    with TemporaryDirectory() as scratch:
        for file in find_files([own.path], [], Path(scratch), keys="curate.decontamination.eval_sets").files:
            count = 0
            for record in open_records(file, knows, _MAX_CHARS).items:
                if isinstance(record, Broken):
                    raise _unreadable(f"row {record.line} cannot be read: {record.detail}", file.name)
                name = f"{file.name}:{record.line}"
                count += 1
                yield Item(name, _texts(record.values, own.columns, name))
            if not count:
                raise _unreadable("there are no rows in it", file.name)


def _texts(values: dict[str, Any], columns: Sequence[str], where: str) -> list[str]:
    names = columns or [name for name in values if name.strip().lower() in _COLUMNS]
    missing = [name for name in names if name not in values]
    if missing or not names:
        wanted = f"no column {', '.join(missing)}" if missing else "no column with a usual name for text"
        # Without a header these are no names but the first row's own cells.
        raise _unreadable(f"{wanted} among the {len(values)} of the row", where)
    return [text for name in names for text in _texts_in(values[name])]


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)
    elif isinstance(value, dict) and value.get("role", value.get("from")) != "system":
        yield from _texts_in(value.get("content", value.get("value")))


def _unreadable(what: str, where: str) -> FlywheelError:
    return FlywheelError(
        what,
        where=where,
        fix="correct the file, or name its path and columns in curate.decontamination.eval_sets",
        reason="eval_set",
    )
