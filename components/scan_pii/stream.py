"""Masking of a text that arrives in pieces, as the answer of a model does, so that no cut hides an entity.

What is passed on waits for the text behind it: an entity is known by its end and by the words after it. What was passed
on is remembered for a while: an entity is known by its label, too.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from llm_flywheel.components.scan_pii.fold import BLANK, fold
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.rules import inserts, tables
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import Span

# Labels and lists that decide what a number is begin at most this far before it.
_BEHIND = 256
# The longest entity with blanks in it, an address, has a hundred code points; then words that decide about it.
_AHEAD = 160
_STEP = 40
# A token without blanks may turn out to be a secret by its end; no issuer makes longer ones.
_LONGEST_TOKEN = 4_096
# A private key of 16,384 bits has 13 thousand code points (RFC 7468: 64 to the line).
_LONGEST_ENTITY = 16_384
# A find never ends inside a word; in scripts without blanks it does.
_BOUNDARY = re.compile(r".*[\s\u3001-\u318f\u4e00-\u9fff\uac00-\ud7a3]", re.DOTALL)
# What only a later line makes a find: a private key that is quoted or indented, the values of a Kubernetes Secret,
# which stand before or after its kind. Each with what is always in it, what ends it, and how far that line may be.
_LONGEST_DATA = 2_048
_OPEN = (
    (re.compile(r"-----?[ ]?BEGIN [A-Z0-9 ]{0,52}PRIVATE KEY"), "PRIVATE KEY", "-END ", _LONGEST_TOKEN),
    (re.compile(r"[Dd]ata:[ \t]*\r?\n[ \t]+[\w.-]{1,128}:"), "ata:", "\n---\n", _LONGEST_DATA),
)
_MANIFEST = re.compile("kind: secret", re.IGNORECASE)


class StreamMasker:
    """Masks a text piece by piece.

    ``"".join(feed(piece) for every piece) + close()`` is what ``masker.mask`` makes of the whole text, wherever it was
    cut. Texts made for the purpose can come out otherwise (a replacement that uncovers something far away), but what a
    scan of the whole finds is not passed on as it was.

    The delay: text is passed on when 160 to 200 more code points have come, up to the end of a word; some 35 words of
    English, a second or so of a model's answer. Only what may still become a find waits longer: a word of more than 160
    code points up to 4,096, the ``data:`` of a YAML file up to 2,048, a private key up to 16,384, and then the key is
    masked as far as it has come. The last 160 wait for ``close``. Every code point is scanned about a dozen times, in
    tables some more, in memory that does not grow. A find of a custom recogniser with blanks in it must not be longer
    than 160.

    Args:
        scanner: Finds the spans.
        masker: Replaces them.

    Example:
        >>> stream = StreamMasker(scanner, Masker(scanner))
        >>> stream.feed("Write to a@exam") + stream.feed("ple.com") + stream.close()
        'Write to [EMAIL]'
    """

    def __init__(self, scanner: Scanner, masker: Masker) -> None:
        self._scanner, self._masker = scanner, masker
        self._pieces: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self._behind = ""  # original text that was passed on, which a scan still has to see
        self._shown = ""  # the end of what was passed on, as it was passed on
        self._held = ""
        self._missing = _AHEAD + _STEP  # code points to gather before another look

    def feed(self, piece: str) -> str:
        """Take more of the text.

        Args:
            piece: Of any length, cut anywhere.

        Returns:
            Masked text to pass on now, often empty.
        """
        self._pieces.append(piece)
        self._missing -= len(piece)
        return self._pass_on(end=False) if self._missing <= 0 else ""

    def close(self) -> str:
        """End the text.

        Returns:
            What is left of it, masked. The next ``feed`` begins another text.
        """
        passed = self._pass_on(end=True)
        self._begin()
        return passed

    def _pass_on(self, end: bool) -> str:
        text = "".join((self._behind, self._held, *self._pieces))
        self._pieces.clear()
        spans = self._scanner.scan(text)
        base = len(self._behind)
        cut = len(text) if end else _cut(text, base, spans)
        piece, after = text[base:cut], text[cut:]
        inside = _within(spans, base, cut) if piece else []
        if inside:
            # What comes is masked too, or a find in it would be one of this piece again.
            after = self._masker.replaced(after, _within(spans, cut, len(text)))
            piece = self._masker.mask_between(self._shown, piece, after, inside).text
        shown = self._shown + piece
        self._shown = _under_header(shown, max(0, len(shown) - _BEHIND))
        self._behind = _remembered(text, cut, spans)
        self._held = text[cut:]
        # In proportion to what is scanned again, so that a long wait costs no more per code point than a short one.
        self._missing = max(_STEP, _AHEAD + _STEP - len(self._held), (len(self._behind) + len(self._held)) // 12)
        return piece


def _cut(text: str, base: int, spans: Sequence[Span]) -> int:
    """Up to where everything is known, from ``base`` on."""
    limit = len(text) - _AHEAD
    if limit <= base:
        return base
    boundary = _BOUNDARY.match(text, base, limit)
    cut = boundary.end() if boundary else base
    if cut == base and limit - base > _LONGEST_TOKEN:
        cut = limit
    for pattern, literal, end, longest in _OPEN:
        if literal in text and (found := pattern.search(text, max(base, limit - longest, text.rfind(end, 0, limit)))):
            cut = min(cut, found.start())
    across = next((span for span in spans if span.start < cut < span.end), None)
    if across is None:
        return cut
    return limit if across.start <= base and limit - base > _LONGEST_ENTITY else max(base, across.start)


def _remembered(text: str, cut: int, spans: Sequence[Span]) -> str:
    """The text before ``cut`` that tells what comes after it: the last words, and the head of a manifest."""
    start = max(0, cut - _BEHIND)
    for span in spans:
        if span.start < cut < span.end:
            # Cut although it goes on: by its first line the scanner knows the rest (-----BEGIN PRIVATE KEY-----).
            return text[span.start : min(cut, span.start + _BEHIND)]
        if span.start < start < span.end:
            # Half a number is another number.
            start = span.end if span.end - span.start > _BEHIND else span.start
    for found in _MANIFEST.finditer(text, max(0, cut - _LONGEST_ENTITY), cut):
        start = max(0, min(start, found.start() - _LONGEST_DATA))
    return _under_header(text[:cut], start)


def _under_header(text: str, start: int) -> str:
    """The text from ``start`` on; inside a table or an INSERT from the start of that row on, below the header."""
    view = fold(text)
    at = start if view.starts is None else bisect_left(view.starts, start)
    for opened in (tables.open_at, inserts.open_at):
        header, row = opened(view.text, at)
        if header:
            return header + text[row if view.starts is None else [*view.starts, len(text)][row] :]
    # The rest of a line must not look like the first row of a table.
    return (BLANK if text[start - 1 : start] not in ("", "\n") else "") + text[start:]


def _within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """The spans of a piece, relative to it; one that reaches out of it is clipped."""
    return [
        Span(max(span.start, start) - start, min(span.end, end) - start, span.type, span.score)
        for span in spans
        if span.end > start and span.start < end
    ]
