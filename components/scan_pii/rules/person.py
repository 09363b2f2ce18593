"""PERSON in Latin script: a dictionary of names, and the words beside a name that show that it is one.

Every run of capitalised words is spelled with one letter per word, its class (``Dear Mr. John Q. Smith`` is ``W``,
``GIS``). Small patterns over such strings tell a name that stands on its own from one that needs a title, a label, a
greeting, a sign-off or an e-mail address beside it.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from llm_flywheel.components.scan_pii.rules.person_labels import is_korean_label, label, words
from llm_flywheel.components.scan_pii.spans import Span

_GIVEN, _SURNAMES, _WORDS, _ORGANISATIONS, _TITLES = map(
    words, ("given", "surnames", "words", "organisations", "titles")
)
_LABELS, _WEAK_LABELS, _GREETINGS, _SIGN_OFFS, _MEETINGS = map(
    words, ("labels", "weak_labels", "greetings", "sign_offs", "meetings")
)
_KOREAN_SURNAMES, _PARTICLES, _BEFORE_PLACES = map(words, ("romanised_surnames", "capital_particles", "before_places"))
_PLACES = words("places")
_BRANDS = frozenset(phrase.replace("_", " ") for phrase in words("brands"))
_CAPITALS = "A-Z" + "".join(chr(point) for point in range(0xC0, 0x250) if chr(point).isupper())
_LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_JOINT = rf"(?:['\u2019](?=[{_CAPITALS}][{_LETTERS}])|-(?=[{_LETTERS}]))"
# No possessive repeat of a group: Python up to 3.11.4, which Debian 12 has, keeps what its last failed try consumed
# (https://github.com/python/cpython/issues/106052). Those of one class are sound.
_JOINED_ON = rf"(?:{_JOINT}[{_LETTERS}]++)"
_TAIL = rf"(?:[{_LETTERS}]++{_JOINED_ON}*|{_JOINED_ON}+)"
_INITIALS = r"\.(?:[A-Z]\.)*"
_PARTICLE = r"(?:van|von|der|den|de|del|della|delle|di|da|das|do|dos|du|des|la|le|ten|ter|zu|bin|ibn|el|al|[sS]t\.)"
# Not in an identifier, a path, an address or a tag: "my_Name", "/Users/John", "@John", "#John".
RUN = re.compile(
    rf"[{_CAPITALS}](?<![A-Za-z0-9_.@/\\#$%+].)(?:{_TAIL}|{_INITIALS})"
    rf"(?: (?:{_PARTICLE} ){{0,3}}[{_CAPITALS}](?:{_TAIL}|{_INITIALS}|(?![\w']))){{0,5}}"
)
_CLOSED = re.compile(r"[A-Za-z0-9_@\\=]|[./+-][A-Za-z0-9]|\(\)|['\u2019]t\b")

# Classes: G given name, H given name and surname, S surname; g and s the same, but also a word or a place; k Korean
# surname, K one that also is a given name, R romanised Korean given name; I initial, A one that is a word too,
# P particle, T title, t title that is a surname too, J what stands behind a surname, such as Jr; O word of an
# organisation or a street, o one that is a surname too; W word; U unknown.
_NAME = re.compile(
    r"(?P<full>[GHK][IA]{0,2}[GHKRSU]?P{0,3}[SHGKksgtU]|G[IA]?P{0,3}o|gI?P{0,3}[SHGKk]|gIP{0,3}[sUo]|II?P{0,3}[SHk]"
    r"|[kK][RkK][RkK]|[kKSo]R|R[kKo]|SP{0,3}[GH]|[SU]I?P{0,3}S)"
    r"|(?P<either>HI?P{0,3}o)|(?P<lone>[GHK])|(?P<weak>[SskgRt]P{0,3}[SHGkKsgtoRU]?|UP{0,3}[kso])|(?P<unknown>U(?:[IA]P{0,3}[SsgUGHo]|P{0,3}[SsgU])?U?)"
)
_TITLED = re.compile(r"[GHKRSskgUto]?[IA]{0,2}[GHKRSskgUto]?P{0,3}[GHKRSskgUto]")
_FIRST_AND_MIDDLE = re.compile(r"[GHKRg](?:[IA]|[GHK])?")
_SYLLABLE = (
    "(?:a|ae|ah?n|ara|bae|be?om|bin|bo|byung|byeong|chae|chan|chang|che?ol|chul|chung|da|dae|do|dong|doo|eon|eu[nl]|eung"
    "|ga|geon|geun|gi|gil|go|gu[nk]|gwang|gyu|gyeong|ha|hae|han|hee|heon|ho|hong|hoon|hu[nm]|hwa|hwan|hye|hyeo[nk]|hyo"
    "|hyuk|hyun|i[nl]|ja|jae|je|jeong|ji|jin|jo|jong|joo|joon|ju|jun|jung|kang|keun|ki|kwan|kwang|kyeong|kyo|kyu|kyung"
    "|mi|min|mo|moo|moon|mu|mun|myeong|myung|na|nam|nara|o[kh]|ra|ram|ran|rae|ri|rim|rin|ryeo[nl]|sa|san|sang|se|seo"
    "|seok|seol|seon|seong|seul|seung|shi[kn]|si|sik|so|sol|soo|sook|soon|su|suk|sun|sung|tae|taek|u[kn]|wan|wo[no]|woo"
    "|woong|woo[kn]|wook|yang|ye|yeo[nl]|yeong|yong|yoo|yoon|you|young|yu|yul|yu[nk]|yong|yoong)"
)
_ROMANISED = re.compile(rf"{_SYLLABLE}-?{_SYLLABLE}")
_STATE = re.compile(
    r",? (?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
    r"|W[AIVY]|USA|UK)\b"
)
_BEFORE_STATES = frozenset(" ,")
# "Aisha Dawson, MD" is a doctor; a place would have a postcode behind.
_DEGREE = re.compile(r", (?:MD|PA|DO|DC)\b(?!,? [0-9])")
# "Martin Luther King Jr. Boulevard"
_STREET_BEHIND = re.compile(
    r"\.? (?:St|Street|Ave|Avenue|Blvd|Boulevard|Dr|Drive|R(?:oa)?d|Park|Way|Day|School|Library|Bridge|Airport)\b"
)
_NOT_LONE = re.compile(
    r" ?(?:\d|&|v\d|\u2122|\u00ae)|\((?!\d|\+)"
    # "Taylor series", "Kelly criterion", "Martin guitar".
    r"|'?s? (?:series|criterion|rules?|laws?|theorems?|methods?|tests?|effects?|filters?|process|models?"
    r"|distributions?|functions?|numbers?|algorithms?|coefficients?|index|principle|paradox|inequality|transforms?|polynomials?|matrix|matrices|space"
    r"|chains?|prize|award|guitars?|brand|framework|library|language|compiler|server|database|package|module|plugin|store"
    r"|class|codes?|scale|cycle|engine|editor|notation|expansion|decomposition|kernel|estimator|cat|dog)\b"
)
_NOT_BEFORE_LONE = ("the ", " a ", " an ", "& ", "_", "`")
# "07 Celso Emilio Ferreiro 23": a street named after a person.
_SMALL_NUMBER = re.compile(r"(?<![0-9A-Za-z./:-])[0-9]{1,4} \Z")
_DIGITS = frozenset("0123456789")
_MONTHS = frozenset(("january", "april", "may", "june", "august"))
_LISTED = re.compile(r",? (?:and|&|or)\b|, [A-Z]")
_VALUE_END = re.compile(r"[\n,;\"')<|}\]]|\Z| [<(]")
_MAIL_AFTER = re.compile(r'["\']? ?[<(\[] ?(?:mailto:)?[\w.+-]{1,64}@', re.ASCII)
_MAIL_MARKS = frozenset(" \"'<([")
# "LoRA", "GitHub", but "McKenzie" and "DeVito".
_CAMEL = re.compile("[a-z][A-Z]")
_JOINED = re.compile(
    "(?:Ma?c|De|Di|Du|La|Le|Lo|Van|Von|Fitz|St|San|Al|El|Ben|O)[A-Z][a-z]+(?:-.+)?|.+-(?:Ma?c|De)?[A-Z][a-z]+"
)
_SUFFIXES = ("Jr", "Sr", "II", "III", "IV")
# Letters with marks to the plain ones of the dictionary.
_PLAIN = {point: unicodedata.normalize("NFKD", chr(point))[0] for point in range(0xC0, 0x250)} | str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "\u2019": "'"}
)
_INTRODUCTIONS = ("name is", "names are", "this is", "i am", "i'm", "i\u2019m", "name's", "call me", "calls me")
_INTRODUCING = frozenset(phrase.rsplit(" ", 1)[-1] for phrase in _INTRODUCTIONS)
# What the word before a name says of it; the later lists win.
# Labels of a field that are other words in a sentence.
_NOT_ALONE = frozenset(("to", "from", "per", "of", "first", "last", "given", "family"))
_CUES = {
    **dict.fromkeys(_WEAK_LABELS.difference(_NOT_ALONE), 1),
    **dict.fromkeys(_LABELS, 2),
    **dict.fromkeys(_MEETINGS, 1),
    **dict.fromkeys(_TITLES, 2),
    **dict.fromkeys(_BEFORE_PLACES, -1),
}
_SPEECH_AFTER = re.compile(
    r",? (?:said|says|asked|told|wrote|replied|shouted|added|sent|called|emailed|texted|promised|lives|thinks)\b"
)


class Piece(NamedTuple):
    """A part of a run that may be a name.

    Attributes:
        start: Its first character, counted from the start of the run.
        end: One past its last.
        kind: ``full``, ``lone``, ``weak`` or ``unknown``: how little it needs beside it.
        before: The word before it in the run, in small letters; empty at the start of the run.
        shouted: Whether it is written in capitals.
    """

    start: int
    end: int
    kind: str
    before: str
    shouted: bool


def is_given(word: str) -> bool:
    """Whether a word in small letters is a given name and nothing else."""
    return word in _GIVEN and word not in _WORDS


@lru_cache(maxsize=1 << 15)
def _class(word: str) -> str:
    if word[0].islower():
        return "P"
    if word in _SUFFIXES:
        return "J"
    if len(word) == 1:
        return "A" if word in "AI" else "I"
    if word == "St.":
        return "P"
    if "." in word:
        return "I"
    if _CAMEL.search(word) and not _JOINED.fullmatch(word):
        return "W"
    lower = word.lower()
    if lower in _PARTICLES:
        return "P"
    plain = lower.isascii()
    if not plain:
        lower = lower.translate(_PLAIN)
    surname = lower in _SURNAMES
    if lower in _TITLES and word != "MX":
        return "t" if surname else "T"
    given, other = lower in _GIVEN, plain and lower in _WORDS
    if "-" in lower and not given and not surname:
        parts = lower.split("-")
        if _ROMANISED.fullmatch(lower):
            return "R"
        given = all(is_given(part) for part in parts)
        surname = all(part in _SURNAMES for part in parts)
    if lower in _ORGANISATIONS and (other or not given):
        return "o" if surname else "O"
    if lower in _KOREAN_SURNAMES:
        return "K" if given and not other else "k"
    if given or surname:
        if other:
            return "g" if given else "s"
        return "H" if given and surname else "G" if given else "S"
    if other or lower in _LABELS or (word.isupper() and len(word) < 5):
        return "W"
    return "R" if _ROMANISED.fullmatch(lower) else "U"


def pieces_of(run: str) -> tuple[str, list[Piece]]:
    """The classes of a run's words, and what in it may be a name."""
    words = run.split(" ")
    classes = "".join([_class(word) for word in words])
    pieces = []
    for first, last, kind in _names_in(classes):
        before = words[first - 1].lower() if first else ""
        name = " ".join(words[first:last])
        lower = name.lower()
        behind = words[last].lower() if last < len(words) else ""
        if before in _BEFORE_PLACES or not _BRANDS.isdisjoint((lower, f"{before} {lower}", f"{lower} {behind}")):
            continue
        # "Travis Runner", "Alice Springs".
        if kind == "lone" and classes[last : last + 1] == "W":
            kind = "weak"
        shouted = name.isupper()
        if behind and words[last] in _SUFFIXES:
            name = f"{name} {words[last]}"
        start = len(" ".join(words[:first])) + 1 if first else 0
        pieces.append(Piece(start, start + len(name), kind, before, shouted))
    return classes, pieces


@lru_cache(maxsize=1 << 15)
def _names_in(classes: str) -> tuple[tuple[int, int, str], ...]:
    """What may be a name in a run whose words have these classes: first word, one past the last, kind."""
    found = []
    at = 0
    while at < len(classes):
        titled = at > 0 and classes[at - 1] in "Tt"
        match = (_TITLED if titled else _NAME).match(classes, at)
        if match is None:
            at += 1
            continue
        end = match.end()
        # "Jackson Street", "Johnson Controls Inc": what follows says it is no person.
        if classes[end : end + 1] in ("O", "o") and not titled:
            at = end + 1
            continue
        kind = "weak" if titled else "doer" if match.group() in "Sg" else match.lastgroup or ""
        found.append((at, end, kind))
        at = end
    return tuple(found)


def in_run(text: str, match: re.Match[str], classes: str, pieces: list[Piece], *, small: bool = False) -> list[Span]:
    """Names of persons in a run of capitalised words.

    Args:
        text: Folded text.
        match: A match of `RUN` in it.
        classes: The classes of its words.
        pieces: What in it may be a name, as `pieces_of` says.
        small: Whether the capitals were put there because the text has none: then a name alone says nothing.

    Returns:
        Spans of 0.8 for a given name with a surname or with evidence beside a name, 0.6 for a lone given name.
    """
    found: list[Span] = []
    start, end = match.span()
    if text[start - 1 : start] == "-" and text[start - 2 : start - 1].isalnum():
        return found
    for piece in pieces:
        first, last = start + piece.start, start + piece.end
        if last == end and _CLOSED.match(text, end):
            continue
        score = _score(text, first, last, piece)
        if score and small:
            last = first + len(_without_words(text[first:last], piece.kind)) if score > 0.7 else first
        if score and last > first:
            found.append(Span(first, last, "PERSON", score))
    if classes[-1] in "Sk" and not small and text.startswith(", ", end):
        given_end = _given_after(text, end + 2)
        if given_end:
            found.append(Span(end - len(match.group().rsplit(" ", 1)[-1]), given_end, "PERSON", 0.82))
    return found


def _without_words(name: str, kind: str) -> str:
    """A name of a text without capitals less the words behind it, "michelle kozma will"; empty if it is none."""
    words = name.split(" ")
    while words and words[-1].lower() in _WORDS:
        del words[-1]
    return " ".join(words) if len(words) > (kind == "full") else ""


def _given_after(text: str, start: int) -> int:
    """Where the given names of "Smith, John A." end; 0 if there are none, or if it is a list."""
    match = RUN.match(text, start)
    if match is None:
        return 0
    classes = pieces_of(match.group())[0]
    given = _FIRST_AND_MIDDLE.match(classes)
    if (
        given is None
        or classes[given.end() : given.end() + 1] not in ("", "W", "T")
        or _LISTED.match(text, match.end())
    ):
        return 0
    return start + len(" ".join(match.group().split(" ")[: given.end()]))


def _score(text: str, start: int, end: int, piece: Piece) -> float:
    """How sure it is that a piece is a person's name; 0 if it is not."""
    kind = piece.kind
    if kind == "full":
        if text[end : end + 1] in _BEFORE_STATES and _STATE.match(text, end) and not _DEGREE.match(text, end):
            return 0.0
        if text[end - 1] in "rR." and _STREET_BEHIND.match(text, end):
            return 0.0
        number = text[start - 2 : start - 1] in _DIGITS and _SMALL_NUMBER.search(text, max(0, start - 6), start)
        return 0.0 if number else 0.8
    evidence = _evidence_in_run(piece.before) if piece.before else _evidence(text, start)
    if evidence < 0 or (text[end : end + 2].strip() in _DIGITS and text[start:end].lower() in _MONTHS):
        return 0.0
    if evidence < 2 and text[end : end + 1] in _MAIL_MARKS and _MAIL_AFTER.match(text, end):
        evidence = 2
    if evidence:
        if kind == "unknown":
            return 0.7 if evidence == 2 else 0.0
        # "User: May I" is a speaker and what was said, "user: May" is a field.
        said = evidence == 1 and kind != "lone" and text.startswith(": ", max(0, start - 2))
        return 0.8 if not said or _VALUE_END.match(text, end) else 0.0
    if kind == "doer" and _SPEECH_AFTER.match(text, end):
        return 0.6
    if kind != "lone" or piece.shouted:
        return 0.0
    before = text[max(0, start - 4) : start].lower()
    if text[start:end].lower() in _PLACES and (before.endswith(", ") or _LISTED.match(text, end)):
        return 0.0
    if before.endswith(_NOT_BEFORE_LONE) or _NOT_LONE.match(text, end) or _STATE.match(text, end):
        return 0.0
    return 0.6


def _evidence_in_run(before: str) -> int:
    if before in _TITLES:
        return 2
    return int(before in _GREETINGS or before in _LABELS or (before in _WEAK_LABELS and before not in _NOT_ALONE))


def _evidence(text: str, start: int) -> int:
    """What stands before a name: 2 shows a person, 1 goes with one, 0 says nothing, -1 shows something else."""
    before = text[max(0, start - 48) : start]
    if before[-1:] == "\n" or before[-2:-1] == "\n":
        return _sign_off(before)
    near = before.rstrip(" \"'`*(<[>")
    if not near:
        return 0
    mark = near[-1]
    if mark in ":=|\t" or (mark == "-" and near[-2:-1] == " ") or before[-1] == ">":
        return label(near[:-1] if mark in ":=|\t-" else near)
    if mark == ",":
        last = near[:-1].lower().rsplit(None, 1)[-1:]
        return 0 if _SIGN_OFFS.isdisjoint(last) and _WEAK_LABELS.isdisjoint(last) else 1
    if mark == "\n":
        return _sign_off(near)
    if before[-1] != " ":
        return 0
    word = near.rsplit(None, 1)[-1].rsplit('"', 1)[-1].lower()
    if word.endswith("."):
        word = word[:-1]
        # "Mr.", "Attn.", but "He is a customer. Drew sent it."
        if len(word) > 4 or word in _MEETINGS:
            return 0
    if word in _INTRODUCING:
        said = near.lower()
        if said.endswith(_INTRODUCTIONS):
            return 2 if said.endswith("name is") else 1
        if word == "is":
            word = said.rsplit(None, 2)[-2:][0].rstrip(".")
    found = _CUES.get(word)
    if found is None:
        return 1 if not word.isascii() and is_korean_label(word) else 0
    return found


def _sign_off(before: str) -> int:
    """Evidence of the line above: a sign-off, or a label on a line of its own."""
    line = before.rstrip().rsplit("\n", 1)[-1]
    if line.endswith(":"):
        return label(line[:-1])
    words = line.rstrip(" ,.!-").rsplit(None, 1)
    return 1 if words and words[-1].lower() in _SIGN_OFFS and len(line) < 40 else 0
