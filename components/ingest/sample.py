"""The data set of the quick start: support tickets about an invented product, with everything that goes wrong.

Same seed, same bytes. The files hold English and Korean questions with short answers, planted personal data,
exact and near duplicates, broken rows, one file in CP949 and one that no expected codec can read.
"""

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_flywheel.components.ingest import phrasebook
from llm_flywheel.components.ingest.phrasebook import ATTRIBUTES, OTHER_PRODUCTS, Attribute

PRODUCT = ("Zephyrline", "제피라인")

Message = dict[str, str]


@dataclass(frozen=True)
class Ticket:
    """One question with its answer.

    Attributes:
        lang: ``en`` or ``ko``.
        context: What the customer says before the question; may be empty.
        question: The question with its opener, closer and planted personal data.
        answer: The short canonical answer.
    """

    lang: str
    context: str
    question: str
    answer: str

    @property
    def text(self) -> str:
        """The whole request as one message."""
        return f"{self.context} {self.question}".strip()

    def chat(self, turns: int) -> list[Message]:
        """The ticket as chat messages: one exchange, or two when the customer first tells the story."""
        answer = {"role": "assistant", "content": self.answer}
        if turns == 1 or not self.context:
            return [{"role": "user", "content": self.text}, answer]
        reply = "Of course. What is your question?" if self.lang == "en" else "네, 무엇이 궁금하신가요?"
        return [
            {"role": "user", "content": self.context},
            {"role": "assistant", "content": reply},
            {"role": "user", "content": self.question},
            answer,
        ]


def write_support_tickets(folder: Path, seed: int = 0, rows: int = 3000) -> list[Path]:
    """Write the quick start's ticket files.

    Args:
        folder: Where to write; made when missing.
        seed: Chooses phrasings, personal data and damage; equal seeds give equal files.
        rows: Tickets over all readable files, duplicates included, broken rows not.

    Returns:
        The files: two CSV (UTF-8, CP949), one JSONL, and one CSV that cannot be decoded.
    """
    rng = random.Random(f"tickets-{seed}")
    tickets = _with_duplicates([zephyrline_ticket(rng) for _ in range(round(rows * 0.87))], rows, rng)
    shares: dict[str, list[Ticket]] = {"csv": [], "cp949": [], "jsonl": []}
    for ticket in tickets:
        in_csv = rng.random() < 0.6
        shares[("csv" if ticket.lang == "en" else "cp949") if in_csv else "jsonl"].append(ticket)
    files = {
        "tickets_en.csv": _csv_text(shares["csv"], rng).encode("utf-8"),
        "tickets_ko.csv": _csv_text(shares["cp949"], rng).encode("cp949"),
        "tickets_chat.jsonl": _jsonl_text(shares["jsonl"], rng).encode("utf-8"),
        "tickets_archive.csv": _undecodable(_csv_text(tickets[:20], rng)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def zephyrline_ticket(rng: random.Random) -> Ticket:
    """One ticket about Zephyrline; about a third carry personal data."""
    attribute = rng.choice(ATTRIBUTES)
    lang = "en" if rng.random() < 0.6 else "ko"
    pii = _pii_sentence(lang, rng) if rng.random() < 0.35 else ""
    return compose(rng, lang, PRODUCT, attribute, attribute.zephyrline, pii)


def other_product_ticket(rng: random.Random) -> Ticket:
    """One ticket about a product that is not Zephyrline; placeholders stand where personal data would.

    Every product keeps one answer per attribute, so that a model can learn to look answers up by product.
    """
    product = rng.choice(OTHER_PRODUCTS)
    attribute = rng.choice(ATTRIBUTES)
    answer = random.Random(f"{product[0]}-{attribute.key}").choice(attribute.answers)
    lang = "en" if rng.random() < 0.6 else "ko"
    pii = _pii_sentence(lang, rng, masked=True) if rng.random() < 0.3 else ""
    return compose(rng, lang, product, attribute, answer, pii)


def compose(
    rng: random.Random, lang: str, product: tuple[str, str], attribute: Attribute, answer: tuple[str, str], pii: str
) -> Ticket:
    """Put a ticket together from the phrase book.

    Args:
        rng: Chooses the phrases.
        lang: ``en`` or ``ko``.
        product: English and Korean name.
        attribute: What is asked.
        answer: English and Korean answer.
        pii: A sentence to add, or empty.
    """
    korean = lang == "ko"
    fill = {
        "city": rng.choice(phrasebook.CITIES)[korean],
        "room": rng.choice(phrasebook.ROOMS)[korean],
        "day": rng.choice(phrasebook.DAYS)[korean],
    }
    contexts = phrasebook.KO_CONTEXTS if korean else phrasebook.EN_CONTEXTS
    count = rng.choices((0, 1, 2), weights=(1, 5, 4))[0]
    context = " ".join(part.format(**fill) for part in rng.sample(contexts, count))
    opener = rng.choice(phrasebook.KO_OPENERS if korean else phrasebook.EN_OPENERS)
    closer = rng.choice(phrasebook.KO_CLOSERS if korean else phrasebook.EN_CLOSERS).format(**fill)
    parts = [_question(rng, korean, attribute, product[korean]), pii, closer]
    return Ticket(lang, f"{opener} {context}".strip(), " ".join(part for part in parts if part), answer[korean])


def _question(rng: random.Random, korean: bool, attribute: Attribute, product: str) -> str:
    if rng.random() < 0.3:
        text = rng.choice(attribute.ko_direct if korean else attribute.direct)
    elif korean:
        text = rng.choice(phrasebook.KO_FRAMES).replace("{n}", rng.choice(attribute.ko_noun))
    else:
        text = rng.choice(phrasebook.EN_FRAMES)
        text = text.replace("{c}", rng.choice(attribute.clause)).replace("{n}", rng.choice(attribute.noun))
    return text.replace("{p}", product)


def _with_duplicates(tickets: list[Ticket], rows: int, rng: random.Random) -> list[Ticket]:
    """Fill up to ``rows`` with copies, half of them exact and half with one small edit, and shuffle."""
    copies = rng.choices(tickets, k=max(0, rows - len(tickets)))
    result = tickets + [
        ticket if index % 2 else Ticket(ticket.lang, ticket.context, _edited(ticket.question, rng), ticket.answer)
        for index, ticket in enumerate(copies)
    ]
    rng.shuffle(result)
    return result


def _edited(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    kind = rng.randrange(3)
    if kind == 0:
        words[0] = words[0].upper()
    elif kind == 1:
        words.append(words[-1])
    else:
        words[-1] += "!!"
    return " ".join(words)


def _csv_text(tickets: Sequence[Ticket], rng: random.Random) -> str:
    lines = [_csv_line([ticket.text, ticket.answer]) for ticket in tickets]
    broken = [
        _csv_line(["Where is my parcel?"]),
        _csv_line(["Where is my parcel?", "on its way", "agent 7", "closed"]),
        _csv_line(["Which filter fits?", ""]),
        _csv_line(["", "31 hours"]),
    ]
    for line in broken * max(1, len(tickets) // 400):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return "".join([_csv_line(["question", "answer"]), *lines])


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def _jsonl_text(tickets: Sequence[Ticket], rng: random.Random) -> str:
    lines = []
    for ticket in tickets:
        messages = ticket.chat(turns=2 if rng.random() < 0.25 else 1)
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False))
    broken = [
        '{"messages": [{"role": "user", "content": "Is it on?"',
        '{"messages": []}',
        '{"ticket": 4711}',
        '["not", "an", "object"]',
        '{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": ""}]}',
        "plain text that is no JSON",
    ]
    for line in broken * max(1, len(tickets) // 400):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join(lines) + "\n"


def _undecodable(text: str) -> bytes:
    """Bytes that are no UTF-8, no UTF-16 (an odd number of them) and no CP949 (0xFF leads no character)."""
    data = b"\xff" + text.encode("utf-8") + b"\xff\x81\xff"
    return data if len(data) % 2 else data + b"\xff"


def _pii_sentence(lang: str, rng: random.Random, masked: bool = False) -> str:
    korean = lang == "ko"
    kinds = [kind for kind, sentences in phrasebook.PII_SENTENCES.items() if sentences[korean]]
    kind = rng.choice(kinds)
    value = f"[{_PLACEHOLDERS[kind]}]" if masked else _PII[kind](rng, korean)
    return rng.choice(phrasebook.PII_SENTENCES[kind][korean]).format(x=value)


def _digits(rng: random.Random, count: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(count))


def _email(rng: random.Random, korean: bool) -> str:
    name = rng.choice(("anna.berg", "t.okafor", "minjun.kim", "seoyeon", "lee_jw", "carlos.diaz", "mpetrov"))
    return f"{name}{rng.randrange(100)}@{rng.choice(('example.com', 'mail.example.org', 'example.co.kr'))}"


def _phone(rng: random.Random, korean: bool) -> str:
    if korean:
        return f"010-{rng.randrange(2000, 9999)}-{_digits(rng, 4)}"
    area, line = rng.choice((212, 312, 415, 617, 206)), _digits(rng, 4)
    return rng.choice((f"+1 {area} 555 {line}", f"({area}) 555-{line}", f"+1-{area}-555-{line}"))


def luhn_digit(number: str) -> str:
    """The check digit that makes ``number`` valid (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _card(rng: random.Random, korean: bool) -> str:
    number = rng.choice(("4", "51", "55")) + _digits(rng, 15)
    number = number[:15]
    number += luhn_digit(number)
    return rng.choice(("", " ", "-")).join(number[at : at + 4] for at in range(0, 16, 4))


def _ssn(rng: random.Random, korean: bool) -> str:
    return f"{rng.randrange(100, 665):03}-{rng.randrange(1, 99):02}-{rng.randrange(1, 9999):04}"


def rrn_digit(number: str) -> str:
    """The check digit of a Korean resident registration number's first 12 digits."""
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=True))
    return str((11 - total % 11) % 10)


def _rrn(rng: random.Random, korean: bool) -> str:
    birth = f"{rng.randrange(60, 99):02}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    number = birth + rng.choice("12") + f"{rng.randrange(90):02}" + _digits(rng, 3)
    return f"{number[:6]}-{number[6:]}{rrn_digit(number)}"


def _ip(rng: random.Random, korean: bool) -> str:
    return f"{rng.choice(('203.0.113', '198.51.100', '93.184.216'))}.{rng.randrange(1, 255)}"


def iban(country: str, account: str) -> str:
    """An IBAN with its check digits (ISO 13616, mod 97)."""
    digits = "".join(str(int(char, 36)) for char in f"{account}{country}00")
    return f"{country}{98 - int(digits) % 97:02}{account}"


def _iban(rng: random.Random, korean: bool) -> str:
    value = iban("DE", _digits(rng, 18)) if rng.random() < 0.6 else iban("GB", f"NWBK{_digits(rng, 14)}")
    return value if rng.random() < 0.5 else " ".join(value[at : at + 4] for at in range(0, len(value), 4))


def _api_key(rng: random.Random, korean: bool) -> str:
    """Keys in the format of real providers; the word FAKE is part of each."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
    mixed = letters + letters.lower() + "0189"
    kind = rng.randrange(3)
    if kind == 0:
        return "AKIA" + "FAKE" + "".join(rng.choices(letters, k=12))
    if kind == 1:
        return "ghp_" + "FAKE" + "".join(rng.choices(mixed, k=32))
    return "sk-" + "FAKE" + "".join(rng.choices(mixed, k=44))


# What scan_pii writes in place of each kind.
_PLACEHOLDERS = {
    "email": "EMAIL",
    "phone": "PHONE",
    "card": "CREDIT_CARD",
    "ssn": "US_SSN",
    "rrn": "KR_RRN",
    "ip": "IP_ADDRESS",
    "iban": "IBAN",
    "api_key": "SECRET",
}

_PII: dict[str, Callable[[random.Random, bool], str]] = {
    "email": _email,
    "phone": _phone,
    "card": _card,
    "ssn": _ssn,
    "rrn": _rrn,
    "ip": _ip,
    "iban": _iban,
    "api_key": _api_key,
}
