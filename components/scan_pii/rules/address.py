"""ADDRESS: postal addresses of the English-speaking world, of the continent in its common forms, and of Korea.

Everything starts at a number: one pass finds the digits that stand where a house number can stand, and only there
the street before or behind, the flat, the town, the state and the postcode are looked for, also over line breaks.
Post-office boxes and labelled postcodes have words of their own.
"""

import re
from functools import lru_cache

from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import Span


def _any(name: str, source: str = "address") -> str:
    """An alternation of one of the lists, longest first."""
    words = sorted(data(source)[name].split(), key=len, reverse=True)
    return "|".join(re.escape(word).replace("_", "[ ]") for word in words)


_CAP = "A-Z" + "".join(chr(point) for point in range(0xC0, 0x250) if chr(point).isupper())
_LOW = "a-z" + "".join(chr(point) for point in range(0xC0, 0x250) if chr(point).islower())
_L = f"{_CAP}{_LOW}"
# In a letter a new line starts with blanks or a quotation mark: ">", "???".
_GAP = r"(?:,?[ ]{0,2}\n[ >?|*]{0,6},?[ ]?|,[ ]{0,2}|[ ]{1,2})"
_NUMBER = r"[0-9]{1,5}(?:[A-Za-z](?![A-Za-z]))?(?:[ ]?[-/][ ]?[0-9]{1,4}[A-Za-z]?)?"
_COMPASS = r"(?:[NS]\.?[ ]?[EW]?\.?|[EW]\.?|(?:North|South)(?:east|west)?|East|West)"
_STREET_WORD = rf"(?:[{_CAP}][{_L}'\u2019.-]*|[0-9]{{1,3}}(?:st|nd|rd|th|ST|ND|RD|TH)|of|the|de|la|le|du|des|van|der)"
# "Deer Run Loop": the last of two suffixes is the street's.
_SUFFIX = (
    rf"(?i:(?:{_any('suffixes')})(?![ ](?:{_any('suffixes')})(?![{_L}]))"
    rf"|(?:{_any('rare_suffixes')})(?![ ](?!(?:{_any('units')})\b)[{_L}]))"
)
_UNIT = (
    rf"(?:(?i:{_any('units')})\b\.?[ ]?[#]?[ ]?(?:[0-9]{{1,5}}[A-Za-z]?|[A-Z][0-9]{{0,4}}|[0-9]+-[0-9]+)(?![{_L}])"
    r"|[#][ ]?[0-9]{1,5}(?:-[0-9]{1,4})?[A-Za-z]?(?![0-9])|[0-9]{1,2}(?:st|nd|rd|th)[ ][Ff]loor)"
)
_CITY = rf"[{_CAP}][{_L}'\u2019.-]+(?:[ -](?:[{_CAP}][{_L}'\u2019.-]+|on|upon|de|la|am|an|der|of|le|del|do|da)){{0,3}}"
_STATE = rf"(?:{_any('states')})(?![{_L}0-9])"
_UK = r"[A-Z]{1,2}[0-9][0-9A-Z]?[ ]?[0-9][A-Z]{2}(?![0-9A-Za-z])"
_POSTCODE = (
    rf"(?:{_UK}|[A-Z][0-9][A-Z][ -]?[0-9][A-Z][0-9](?![0-9A-Za-z])|[A-Z][0-9]{{2}}[ ]?[0-9A-Z]{{4}}(?![0-9A-Za-z]))"
)
_ZIP = r"[0-9]{5}(?:-[0-9]{4})?(?![0-9-])"
_COUNTRY = rf"(?:{_any('countries')})(?![{_L}])"
_PLACES = frozenset(data("names")["places"].split())
_TOWN = (
    rf"(?:{_GAP}{_CITY}{_GAP}{_STATE}\.?(?:{_GAP}(?:{_ZIP}|{_POSTCODE}|[0-9]{{4}}(?![0-9])))?"
    rf"|(?:{_GAP}{_CITY}){{1,3}}?{_GAP}(?:{_POSTCODE}|{_ZIP})"
    rf"|{_GAP}(?:[A-Z]{{1,2}}-)?[0-9]{{4,5}}(?:[ ][A-Z]{{2}})?[ ]{_CITY}"
    rf"|{_GAP}[0-9]{{3}}[ ][0-9]{{2}}[ ]{_CITY}"
    rf"|{_GAP}(?:Dublin[ ][0-9]{{1,2}}[Ww]?(?:{_GAP}{_POSTCODE})?|Singapore[ ][0-9]{{6}}(?![0-9]))"
    rf"|{_GAP}{_STATE}(?:{_GAP}{_ZIP})?|{_GAP}(?:{_POSTCODE}|{_ZIP})"
    rf"|,[ ]{_CITY}(?=,[ ]{_COUNTRY}))"
)
_REST = re.compile(rf"(?:{_GAP}{_UNIT}){{0,2}}(?P<town>{_TOWN})?(?P<land>{_GAP}{_COUNTRY})?")
_NEXT_WORDS = re.compile(rf"{_GAP}([{_CAP}][{_L}]+(?:[ ][{_CAP}][{_L}]+)?)")
_DISTRICTS = rf"(?:,?[ ][{_CAP}][a-z]+-(?:gu|dong|si|do|eup|myeon)\b){{0,3}}"
_KOREAN_STREET = rf"[{_CAP}][a-z]+(?:-?[0-9]+)?-(?:ro|gil|daero)(?:[ ][0-9]+(?:beon)?-gil)?{_DISTRICTS}"
_NAMED_STREET = (
    rf"(?!(?:The|An?|Your|Our|My|This|Each|Every)[ ])(?:{_COMPASS}[ ])?"
    rf"(?:(?:{_STREET_WORD}[ ]){{1,4}}?|[{_CAP}][{_L}-]+-)(?P<suffix>{_SUFFIX})(?![{_L}0-9-])\.?"
    rf"(?:[ ]{_COMPASS}(?![{_L}]))?{_DISTRICTS}"
)
_BARE_STREET = (
    rf"(?P<bare>(?i:{_any('bare_streets')})|The[ ][{_CAP}][{_LOW}]+|[{_CAP}][{_LOW}]+(?:way|gate|side|gracht))\b"
)
_HIGHWAY = (
    r"(?:(?:(?:US|State|County|Old|Interstate|Rural)[ ])?(?:Highway|Hwy|Route|Rte|Road)|CR|FM|SR"
    r"|Farm[ ]to[ ]Market[ ]R(?:oa)?d)[ ][0-9]{1,4}"
)
_TYPED_STREET = rf"(?P<type>(?i:{_any('types_first')})[ ](?:(?:[{_L}][{_L}'\u2019.-]*)[ ]?){{1,5}}?(?=[,\n]|$))"
_STREET = re.compile(rf"{_NUMBER},?[ ](?:{_KOREAN_STREET}|{_NAMED_STREET}|{_BARE_STREET}|{_HIGHWAY}|{_TYPED_STREET})")
_SMALL_STREET = re.compile(
    rf"{_NUMBER},?[ ](?:[a-z0-9'.-]+[ ]){{1,3}}?(?:{_any('suffixes')})(?![a-z0-9-])\.?"
    rf"(?:{_GAP}(?:apt|unit|suite|ste)\.?[ ]?[0-9]+[a-z]?)?"
    rf"(?:{_GAP}[a-z'.-]+(?:[ ][a-z'.-]+){{0,2}})?{_GAP}(?:[a-z]{{2}}[ ])?{_ZIP}"
)
# "Flat 3, 12 Victoria Road", "Unit 5/20 Industrial Way".
_HOUSE = re.compile(
    r"(?i:Flat|Unit|Apt\.?|Apartment|Suite|Room|Floor|Level|Block)[ ]#?[0-9]{1,4}[A-Za-z]?(?:,[ ]{0,2}|[ ]|/|\n)"
    r"(?:[A-Z][\w']+[ ](?:House|Court|Building|Tower|Lodge|Mansions)(?:,[ ]?|\n))?\Z"
    r"|\b[A-Z][\w']+[ ](?:Cottage|Farmhouse|House|Lodge|Villa),[ ]?\Z"
)
_CONTINENTAL_NUMBER = re.compile(rf"[0-9]{{1,4}}[ ]?[a-zA-Z]?(?:[-/][0-9]{{1,4}})?(?![0-9{_L}]|[-.:/][0-9])\.?")
_TYPE_BEFORE = re.compile(
    rf"(?<![{_L}])(?:[0-9]{{1,4}},?[ ])?(?i:{_any('types_first')})[ ](?:[{_L}][{_L}'\u2019-]*,?[ ]){{1,5}}\Z"
)
_ENDINGS = tuple(data("address")["continental_endings"].split())
_LOWER_TYPE = re.compile(r"(?<=[0-9] )(?=rue )")
# "앞으로 3일", "3동 2개": what is counted is no house.
_KOREAN = re.compile(
    r"[로길동리가읍면산] ?(?=[0-9])(?![0-9]{1,4}(?:년|월|일(?!동)|시(?![가-힣]*[구동])|분(?!당)|초|개|명|건|원|회|차"
    r"|대|권|장|주(?!공)|배|만|천|백|억|%|호선|인|박|살|세|[.:,][0-9]|[kcm]?[gmlKMGTB]))"
)
_HOUSE_NUMBER = re.compile(
    rf"(?<![0-9A-Za-z_.@/$€£%+*&-])(?<![0-9][:=]){_NUMBER},?[ ]"
    rf"(?:{_COMPASS}[ ])?(?:[0-9]{{1,3}}(?:st|nd|rd|th)[ ])?\Z"
)
_NUMBER_BEFORE = re.compile(r"[0-9](?:[A-Za-z,]|[tnrs][hdt]| [NSEW])? \Z")
_NUMBER_BEHIND = re.compile(r"[.,]? [0-9]")
_RARE = frozenset(data("address")["rare_suffixes"].split())
_SIGNS = _RARE.union(
    data("address")["suffixes"].split()
    + data("address")["types_first"].split()
    + data("address")["bare_streets"].split()
).union(("highway", "hwy", "rte", "cr", "fm", "sr", "farm", "jr"))
_TYPES = frozenset(data("address")["types_first"].replace(".", "").split())
_NUMBERED = frozenset(
    ("zip", "postcode", "code", "apt", "suite", "box", "bag", "postfach", "unit", "psc", "cmr", "ae", "ap", "aa")
)
_BOX = re.compile(
    r"(?i:\b(?:P\.?[ ]?O\.?[ ]?|Post[ ]Office[ ]|GPO[ ]|Private[ ]|Locked[ ])(?:Box|Bag)[ ]?#?[0-9]{1,6}"
    r"|\b(?:PSC|Unit|CMR)[ ][0-9]{1,5},?[ ]Box[ ][0-9]{1,5}"
    r"|\b(?:Rural[ ]Route|R\.?R\.?|HCR?|Star[ ]Route)[ ][0-9]{1,3},?[ ]Box[ ][0-9]{1,5}[A-Z]?\b"
    r"|\bPostfach[ ][0-9 ]{2,8}[0-9])"
)
_MILITARY = re.compile(
    r"(?:US(?:NS|NV|S|CGC)[ ][A-Z]\w+,?[ \n]{1,2})?(?i:[AFD]PO,?[ ]A[EAP])[ ][0-9]{5}(?![0-9])", re.ASCII
)
_ZIP_LABEL = re.compile(
    r"(?i:zip|post(?:al)?[_ -]?code|우편\s?번호)(?i:[_ -]?(?:code|number|no))?[\"']?(?:은|는)?[ ]{0,2}"
    r"(?:is[ ]|[:=]|-)?[ ]{0,2}[\"']?"
    rf"(?P<value>[0-9]{{5}}(?:-[0-9]{{4}})?(?![0-9])|{_UK})"
)
# What a field for an address holds, if it starts as addresses do.
_FIELD = re.compile(
    r"[Aa]ddr(?:ess)?(?:[_ ]?(?:[Ll]ine)?[_ ]?[12])?[\"']?[ ]?(?:is[ ]|[:=-])[ ]{0,3}[\"']?"
    rf"(?P<value>(?:(?:House|Plot|Door|No\.?|Flat|Unit|Apt\.?)[ ])?[0-9]{{1,5}}[A-Za-z]?(?:[-/][0-9]{{1,4}}){{0,3}},?"
    rf"[ ][{_CAP}][{_L}'\u2019.-]{{0,30}}"
    rf"(?:,?[ ](?:[{_CAP}][{_L}0-9'\u2019.-]{{0,30}}|[#]?[0-9][0-9A-Za-z/-]{{0,8}}(?![:@])|of|de|la|le|du|des|van|der"
    rf"|the)(?![{_L}0-9])){{0,14}})(?<![.])"
)
# Streets of any language are known by the flat behind them: "78 Camiño Ancho 91\n Suite 286\n El Tornadizo".
_FLAT = re.compile(
    rf"(?i:apt\.?|suite)[ ][0-9]{{1,5}}(?![0-9])(?:(?:{_GAP}{_CITY}){{1,3}}?[ \n]{{1,2}}[0-9]{{4,6}}(?![0-9-])"
    rf"|(?:,?\n[ >?]{{0,4}}{_CITY}){{1,2}})?"
)
_BEFORE_FLAT = re.compile(
    rf"(?<![{_L}0-9.,'\u2019-])(?:[0-9][{_L}0-9/.-]*|[{_CAP}][{_L}'\u2019./-]*|de|la|del|della|da|das|do|di|of|van|der)"
    rf"(?:[ ](?:[0-9][{_L}0-9/.-]*|[{_CAP}][{_L}'\u2019./-]*|de|la|del|della|da|das|do|di|of|van|der|al)){{0,7}}"
    r"[ ]?,?[ ]?(?:\n[ >?]{0,4})?\Z"
)

_PROVINCE = _any("korean_provinces")
_DIVISION = (
    rf"(?:(?:{_PROVINCE})[ ]?)?(?:(?:{_any('korean_cities')})시[ ]?)?(?:(?:{_any('korean_counties')})군[ ]?)?"
    rf"(?:(?:{_any('korean_districts')})구[ ]?)?"
)
_VILLAGE = r"(?:[가-힣]{1,5}[0-9]?(?:읍|면)[ ]?)?(?:[가-힣]{1,6}[0-9]{0,2}(?:동|리|가)[ ]?)?"
_ROAD = r"[가-힣][가-힣0-9·.]{0,11}?(?:로|길)[ ]?(?:[0-9가-힣]{1,6}길[ ]?)?"
_ROAD_HEAD = re.compile(rf"(?P<where>{_DIVISION}{_VILLAGE}){_ROAD}(?:지하[ ]?)?")
# "월성동 은하아파트 113동 602호": a complex stands for the lot.
_COMPLEX = r"(?:[가-힣A-Za-z0-9]{2,12}[ ]){1,2}(?:제?[0-9]{1,4}|[A-Za-z가-힣])동[ ]?"
_LOT_HEAD = re.compile(rf"(?P<where>{_DIVISION})(?P<village>{_VILLAGE})(?:산[ ]?|{_COMPLEX})?")
# The two syllables that a division may start with; the patterns above look at the rest.
_DIVISION_HEADS = frozenset(
    f"{name}{suffix}"[:2]
    for kind, suffix in (("provinces", ""), ("cities", "시"), ("counties", "군"), ("districts", "구"))
    for name in data("address")[f"korean_{kind}"].split()
)
_WORD_HEAD = re.compile("(?<![가-힣])[가-힣]{2}")
_BUILDING = (
    r"(?:[가-힣A-Za-z0-9·&]{1,12}[ ])?[가-힣A-Za-z0-9·&]{0,12}"
    rf"(?:{_any('korean_buildings')})"
)
_BLOCK = r"(?:제?[0-9]{1,4}|[A-Za-z가-힣])동(?:[ ,]{0,2}(?:지하[ ]?)?[0-9]{1,2}층)?"
_FLOOR = r"(?:지하[ ]?|B)?[0-9]{1,3}층(?:[ ,]{0,2}[0-9A-Za-z]{1,5}호)?|지하(?:[ ]?[0-9]층)?"
_ROOM = (
    rf"(?:{_BLOCK}(?:[ ,-]{{0,2}}(?:[A-Za-z]?[0-9]{{1,5}}|[가-힣])호)?|{_FLOOR}"
    r"|[A-Za-z]?[0-9]{1,5}(?:-[0-9]+)?호|[0-9]{2,4}-[0-9]{3,4}(?![0-9-]))"
)
_KOREAN_REST = re.compile(
    r"[0-9]{1,5}(?:[ ]?[-][ ]?[0-9]{1,4})?(?:번지|번|호)?(?![0-9])"
    r"(?:[ ]?\([가-힣0-9A-Za-z ,·]{2,30}\))?"
    rf"(?:,?[ ](?:{_BUILDING})(?![가-힣])(?=[ ,.\n)\"']|$)|,?[ ][가-힣A-Za-z0-9·]{{1,14}}(?=,?[ ]{_ROOM}))?"
    rf"(?:,?[ ]?{_ROOM}){{0,2}}"
    r"(?:[ ]?\([가-힣0-9A-Za-z ,·]{2,30}\))?"
)
_LAST_ROAD = re.compile(r"[가-힣][가-힣0-9·]{1,11}(?:로|길)")
_LAST_VILLAGE = re.compile(r"[가-힣]{1,6}[0-9]{0,2}(?:동|리|가)")
_ADDRESS_LABEL = re.compile(
    r"(?:주소|소재지|배송지|거주지|본사|사무실|위치)[^가-힣0-9\n]{0,6}\Z|(?i:address)[^a-z\n]{0,6}\Z"
)
# "650911-1296452 인천": the end of a resident number is no postcode.
_POSTCODE_BEFORE = re.compile(r"(?<![0-9A-Za-z-])[(\[]?(?:우[ )]?)?[0-9]{3}-?[0-9]{2,3}[)\]]?[ ,]{1,2}\Z")


def korean(text: str) -> list[Span]:
    """Korean addresses in Hangul."""
    found: list[Span] = []
    for match in _KOREAN.finditer(text):
        if not found or match.end() > found[-1].end:
            span = _korean(text, match.end(), match.group()[0])
            if span:
                found.append(span)
    return found


def small(text: str) -> list[Span]:
    """Addresses in a text without a capital letter."""
    return [Span(found.start(), found.end(), "ADDRESS", 0.8) for found in _SMALL_STREET.finditer(text)]


def by_word(text: str) -> list[Span]:
    """What has a small word of its own: ``address: ...``, ``zip: ...``, "12 rue de Rivoli"."""
    found: list[Span] = []
    for word in ("zip", "post") if text.isascii() else ("zip", "post", "우편"):
        at = text.find(word)
        while at >= 0:
            code = _ZIP_LABEL.match(text, at)
            if code:
                found.append(Span(*code.span("value"), "ADDRESS", 0.7))
            at = text.find(word, at + 3)
    if " rue " in text:
        streets = (_street(text, match.start()) for match in _LOWER_TYPE.finditer(text))
        found += [street for street in streets if street]
    at = text.find("ddr")
    while at > 0:
        field = _FIELD.match(text, at - 1)
        if field:
            found.append(Span(*field.span("value"), "ADDRESS", 0.82))
        at = text.find("ddr", at + 3)
    return found


def in_run(text: str, match: re.Match[str], before: bool, behind: bool) -> Span | None:
    """An address at a run of capitalised words.

    Args:
        text: Folded text.
        match: A match of `person.RUN` in it.
        before: Whether its words may follow a house number, as `signs` says.
        behind: Whether its words may stand before one.

    Returns:
        A span of 0.85 with a town or a postcode, of 0.7 or 0.8 without; none if there is no street.
    """
    start, end = match.span()
    if before and _NUMBER_BEFORE.search(text, max(0, start - 5), start):
        span = _street(text, start)
        if span:
            return span
    if not behind:
        return None
    if _NUMBER_BEHIND.match(text, end):
        return _behind_word(text, match)
    code = _ZIP_LABEL.search(text, start, end + 30) if text[end : end + 2] in (": ", ":\t") else None
    return Span(*code.span("value"), "ADDRESS", 0.7) if code and code.start() < end else None


def signs(words: list[str]) -> tuple[bool, bool]:
    """Whether a run of words may be a street behind a number, and whether it may be one before a number."""
    found = [_sign(word) for word in words]
    the = words[0] == "The" and len(words) == 2
    return the or "street" in found or "type" in found, "type" in found or found[-1] == "before"


@lru_cache(maxsize=1 << 15)
def _sign(word: str) -> str:
    word = word.lower().replace(".", "")
    if word in _TYPES:
        return "type"
    if word in _SIGNS or word.endswith(("-ro", "-gil", "-daero", "way", "gate", "side")):
        return "street"
    return "before" if word in _NUMBERED or word.endswith(_ENDINGS) else ""


def _behind_word(text: str, run: re.Match[str]) -> Span | None:
    """What a capitalised word before a number may be: a box, a flat, or a street."""
    start = run.end() - len(run.group().rsplit(" ", 1)[-1])
    at = run.end() + (1 if text[run.end()] == " " else 2)
    word = text[start : run.end()].lower()
    if word in ("apt", "suite"):
        flat = _FLAT.match(text, start)
        street = _BEFORE_FLAT.search(text, max(0, start - 70), start)
        if flat and street and any(map(str.isdigit, street.group())):
            return Span(street.start(), flat.end(), "ADDRESS", 0.75)
        return None
    if word in ("box", "bag", "postfach", "unit", "psc", "cmr"):
        for box in _BOX.finditer(text, max(0, start - 20), at + 24):
            if box.start() <= start < box.end():
                return Span(box.start(), _to_the_end(text, box.end())[0], "ADDRESS", 0.85)
        return None
    if word in ("ae", "ap", "aa"):
        military = _MILITARY.search(text, max(0, start - 30), at + 6)
        return Span(military.start(), military.end(), "ADDRESS", 0.85) if military else None
    return _continental(text, start, at)


def _street(text: str, name_at: int) -> Span | None:
    """A house number and what follows it."""
    number = _HOUSE_NUMBER.search(text, max(0, name_at - 24), name_at)
    if number is None:
        return None
    at = number.start()
    match = _STREET.match(text, at)
    if match is None:
        return None
    end, sure = _to_the_end(text, match.end())
    if not sure and (match["bare"] or match["type"]):
        return None
    suffix = (match["suffix"] or "").lower()
    if not sure and suffix in _RARE:
        return None
    if (
        not sure
        and suffix in ("way", "run", "end", "point", "view", "hill", "green", "dr", "pt", "row", "st", "path")
        and (text[match.start("suffix")].islower() or suffix in ("end", "point", "run", "view", "path"))
    ):
        return None
    start = at
    if text[max(0, at - 2) : at].strip() in (",", "/", "") or text[at - 1] in " \n/":
        house = _HOUSE.search(text, max(0, at - 40), at)
        if house:
            start = house.start()
    return Span(start, end, "ADDRESS", 0.85 if sure else 0.8)


def _to_the_end(text: str, at: int) -> tuple[int, bool]:
    """Where the flat, the town, the postcode and the country behind a street end, and whether there is a town."""
    rest = _REST.match(text, at)
    end = rest.end() if rest else at
    if rest and (rest["town"] or rest["land"]):
        return end, True
    words = _NEXT_WORDS.match(text, end)
    if words is None:
        return end, False
    first = words[1].split(" ")[0]
    if words[1].lower() in _PLACES:
        return words.end(), True
    return (words.start(1) + len(first), True) if first.lower() in _PLACES else (end, False)


def _continental(text: str, word_at: int, at: int) -> Span | None:
    """A street with the number behind it: "Hauptstraße 12, 10115 Berlin", "Via Roma 5"."""
    word = text[word_at : at - 1].lower()
    if len(word) > 4 and word.endswith(_ENDINGS):
        start = word_at
    else:
        line = max(text.rfind("\n", max(0, at - 60), at), at - 60, 0)
        before = _TYPE_BEFORE.search(text, line, at)
        if before is None:
            return None
        start = before.start()
    match = _CONTINENTAL_NUMBER.match(text, at)
    if match is None:
        return None
    end, sure = _to_the_end(text, match.end())
    return Span(start, end, "ADDRESS", 0.85 if sure else 0.7)


def _korean(text: str, at: int, kind: str) -> Span | None:
    """A Korean address whose building or lot number starts at ``at``, behind a syllable such as 로 or 동."""
    road = kind in "로길"
    low = max(0, at - 60)
    low = max(low, text.rfind("\n", low, at) + 1)
    head = _ROAD_HEAD if road else _LOT_HEAD
    for start in _WORD_HEAD.finditer(text, low, at):
        if start.group() not in _DIVISION_HEADS:
            continue
        first = start.start()
        found = head.fullmatch(text, first, at)
        if found and found["where"]:
            rest = _KOREAN_REST.match(text, at)
            if rest and (road or found["village"] or "번지" in rest.group()):
                return _with_postcode(text, first, rest.end(), low)
    return _without_division(text, at, low, road)


def _without_division(text: str, at: int, low: int, road: bool) -> Span | None:
    """An address that starts with its road or village; "앞으로 3일" and "3동 201호" are none."""
    words = text[low:at].rstrip().rsplit(" ", 2 if text[at - 1] == "길" else 1)
    street = (_LAST_ROAD if road else _LAST_VILLAGE).fullmatch(words[-1])
    rest = _KOREAN_REST.match(text, at) if street else None
    if rest is None:
        return None
    start = text.rindex(words[-1], low, at)
    more = rest.group()
    detailed = re.search(r"[동층)]|.호|번지", more.lstrip("0123456789-")) is not None
    labelled = _ADDRESS_LABEL.search(text, max(0, start - 14), start) is not None
    if not (detailed or labelled):
        return None
    return _with_postcode(text, start, rest.end(), low)


def _with_postcode(text: str, start: int, end: int, low: int) -> Span:
    before = _POSTCODE_BEFORE.search(text, max(low, start - 12), start)
    return Span(before.start() if before else start, end, "ADDRESS", 0.85)
