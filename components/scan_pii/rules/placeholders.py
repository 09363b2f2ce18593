"""What stands where a secret could: placeholders, code, paths, names; and what a drawn one looks like instead."""

import re

_WORD = (
    r"change_?(?:me|it|this)|replace_?(?:me|this|with)?|insert|enter|put|your|my|our|the|example|sample|dummy|fake|test|demo"
    r"|foo|bar|baz|placeholder|redacted|masked|removed|hidden|filtered|secret|password|passwd|passphrase|pass|pwd|token"
    r"|credentials?|none|null|nil|undefined|true|false|required|optional|string|default|empty|unset|value|user(?:name)?"
    r"|here|goes|todo|tbd|n/?a|api|key|access|auth|new|old|current|some|an?|x{2,}+"
)
_PLACEHOLDER = re.compile(
    rf"[\W_]*+(?:{_WORD})(?:[\W_]*+(?:{_WORD}|1234?5?6?))*[\W_]*|[*x\u2022.#?_-]+|.*\.{{3}}|[<\[(]{{1,2}}[^>\])]*[>\])]?"
    r"|\$\{[^}]*\}?.*|\$\(.*|\$[A-Za-z_]\w*|\{\{?[\w .\[\]'\":!-]*\}?\}?|%\(.*|%[sdr]|%[A-Z_]+%|__[A-Z_]+__"
    r"|@[A-Za-z_@.]+@?|&\w+;.*|#\{.*",
    re.ASCII | re.IGNORECASE,
)
# References to a store of secrets or the environment and what is encrypted there; paths, URLs, versions, dates,
# options, e-mail addresses, checksums and public keys.
_OTHER = re.compile(
    r"!(?:vault|secret|env\w*|include|Ref|Sub|GetAtt|ImportValue|reference)\b|(?:vault|arn|ref|env|file|ssm|secretsmanager|sops):"
    r"|projects/[\w-]+/secrets/|ENC[(\[]|\{(?:cipher|aes)\}|os\.(?:environ|getenv)|(?:process|import\.meta)\.env"
    r"|(?:System\.)?getenv\(|ENV\[|(?i:ed25519|ed448|x25519|x448)"
    r"|\.{1,2}/|~/|[A-Za-z]:\\|[a-z]{2,12}://|(?:/[a-z0-9_.-]{1,40}){1,20}/?$|v?\d{1,4}(?:\.\d{1,4}){1,3}$|\d{4}-\d\d-\d\d"
    r"|--?[a-z]|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z]+)+$|0x[0-9A-Fa-f]{1,16}$|(?:sha\d{1,3}|md5)[-:]|ssh-(?:rsa|ed)",
    re.ASCII,
)
# A call, an attribute, an assignment, a comparison.
_CODE = re.compile(
    r"[A-Za-z_]\w*+(?:(?:\.|->|::)[A-Za-z_]\w*+)*(?:[(\[]|->)|[A-Za-z_]++(?:\.[A-Za-z_]\w*+)+[;,]?$"
    # The last is a cmdlet of PowerShell.
    r"|\w++(?:\.[A-Za-z_]++)+[;,]?$|\w++\)[.\[]|[A-Za-z_]\w*+(?:={1,2}[A-Za-z(\"'\[]|\|\|)|[!=]=|=>|[^\[]*\]\{|\[\^|[A-Z][a-z]{2,9}(?:To|From)?-[A-Z][A-Za-z]{2,30}$",
    re.ASCII,
)
# Names: words with numbers between separators, and CamelCase.
_CAMEL = (
    r"(?:(?:[A-Z][a-z]{2,15}|(?:My|Is|On|To|Id|Db|Ip|Up|In|At|By|No|Or|Go|Of|As|Tx|Rx|Js|Fp|Wi|Fi)(?![a-z])|OAuth|[A-Z](?=\d)"
    r"|[A-Z]{2,5}(?=[A-Z][a-z]|[\d_.:/ -]|$))\d{0,5})"
)
WORDS = re.compile(
    rf"(?:(?:[a-z]{{1,14}}{_CAMEL}+|{_CAMEL}{{2,}}|[A-Za-z][a-z]{{0,13}}\d{{0,4}}|[a-z]{{2,14}}\d{{1,2}}[a-z]{{2,14}}\d?"
    r"|[A-Z]{2,14}\d{0,3}|\d{1,4})(?:[-_./: ]+|$))+",
    re.ASCII,
)
# Letters whose case jumps about are no words.
CASE_MIX = re.compile(r"[a-z][A-Z].*[a-z][A-Z]|[A-Z]{2}[a-z].*[a-z][A-Z]|[a-z][A-Z]{2,}")
_DIGIT, _LETTER = re.compile("[0-9]"), re.compile("[A-Za-z]")
_SURE = re.compile(r"[A-Za-z0-9_-]*?(?:[A-Za-z]{1,4}[0-9]{1,4}){4}[A-Za-z0-9_.-]*={0,2}", re.ASCII)
_CASE_CHANGE = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Z])[a-z]")
_NAME_PART = re.compile(r"[a-z]{7}|(?i:pass|pw|secret|token|key|auth|login|user|cred)")
_UNSPOKEN = re.compile(r"[A-Z](?!ttp|tml|gmt)[b-df-hj-np-tv-xz]{3}")
_DJANGO_KEY = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9!@#$%^&*()_=+-]{40,80}", re.ASCII)
# "falcon.0lHpIh", "mango.MTI6AE": no name of a program ends like this.
_DRAWN_TAIL = re.compile(
    r"[a-z]{2,16}[._-](?=[A-Za-z]*[0-9])(?=[a-z0-9]*[A-Z])(?![A-Z][a-z]+[0-9]*$)(?![A-Z_]+[0-9]*$)[A-Za-z0-9]{6,}"
)
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_NO_TOKEN = re.compile(r"[\[\](){}<>|^\\`]")


def is_placeholder(value: str) -> bool:
    """Whether it only stands for a secret, or says where one is."""
    return bool(_PLACEHOLDER.fullmatch(value) or _OTHER.match(value))


def is_noise(value: str) -> bool:
    """Whether it is drawn from all printable characters, as the keys and salts of WordPress are."""
    return is_django_key(value) or (
        len(value) >= 32 and len(set(value)) >= 24 and len(_PUNCTUATION.findall(value)) >= 8
    )


def is_django_key(value: str) -> bool:
    """Whether it is drawn as Django's ``SECRET_KEY`` is (``django.core.management.utils.get_random_secret_key``)."""
    return _DJANGO_KEY.fullmatch(value) is not None and len(set(_PUNCTUATION.findall(value))) >= 5


def is_drawn(value: str) -> bool:
    """Whether it is of letters only, whose case changes as in no words or names of a program."""
    if not (len(value) >= 10 and value.isascii() and value.isalpha()) or len(_CASE_CHANGE.findall(value)) < 4:
        return False
    words = WORDS.fullmatch(value) or WORDS.fullmatch(value[:-1])
    return not (_NAME_PART.search(value) or (words and not _UNSPOKEN.search(value)))


def is_code(value: str) -> bool:
    """Whether it is a piece of a program; of an unquoted value only."""
    return _CODE.match(value) is not None and not _DRAWN_TAIL.fullmatch(value)


def is_surely_random(value: str) -> bool:
    """Whether letters and digits take turns in it, as in no name; true of most keys, and quick."""
    return _SURE.fullmatch(value) is not None and len(set(value)) >= 7


def looks_random(value: str, least: int) -> bool:
    """Long enough, of letters and digits, with seven different characters, and not words or names with numbers."""
    if len(value) < least or len(set(value)) < 7 or not _LETTER.search(value):
        return False
    if is_drawn(value):
        return True
    if not _DIGIT.search(value) and not (len(value) >= 20 and CASE_MIX.search(value)):
        return False
    return WORDS.fullmatch(value) is None and _NO_TOKEN.search(value) is None
