"""The quick start's data: reproducible, with valid planted data and enough distinct tickets."""

import csv
import io
import json
import random
from pathlib import Path

import pytest

from llm_flywheel.components.ingest.phrasebook import ATTRIBUTES, OTHER_PRODUCTS
from llm_flywheel.components.ingest.sample import (
    iban,
    luhn_digit,
    other_product_ticket,
    rrn_digit,
    write_support_tickets,
    zephyrline_ticket,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tickets")
    write_support_tickets(path)
    return path


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_support_tickets(tmp_path / "a", seed=3, rows=200)]
    again = [path.read_bytes() for path in write_support_tickets(tmp_path / "b", seed=3, rows=200)]
    other = [path.read_bytes() for path in write_support_tickets(tmp_path / "c", seed=4, rows=200)]
    assert first == again
    assert first != other


def test_files_and_their_encodings(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "tickets_archive.csv",
        "tickets_chat.jsonl",
        "tickets_en.csv",
        "tickets_ko.csv",
    ]
    with pytest.raises(UnicodeDecodeError):
        (folder / "tickets_ko.csv").read_text(encoding="utf-8")
    assert "제피라인" in (folder / "tickets_ko.csv").read_text(encoding="cp949")
    assert "제피라인" in (folder / "tickets_chat.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp949"])
def test_archive_cannot_be_decoded(folder: Path, codec: str) -> None:
    with pytest.raises(UnicodeDecodeError):
        (folder / "tickets_archive.csv").read_bytes().decode(codec)


def test_broken_rows_are_planted(folder: Path) -> None:
    table = list(csv.reader(io.StringIO((folder / "tickets_en.csv").read_text(encoding="utf-8"))))
    assert {len(row) for row in table} == {1, 2, 4}
    assert ["Which filter fits?", ""] in table
    lines = (folder / "tickets_chat.jsonl").read_text(encoding="utf-8").splitlines()
    assert '{"messages": [{"role": "user", "content": "Is it on?"' in lines
    assert '{"messages": []}' in lines


def test_three_thousand_tickets_with_exact_duplicates(folder: Path) -> None:
    rows = []
    for name, codec in (("tickets_en.csv", "utf-8"), ("tickets_ko.csv", "cp949")):
        rows += [tuple(row) for row in csv.reader(io.StringIO((folder / name).read_text(encoding=codec)))][1:]
    rows = [row for row in rows if len(row) == 2 and all(row)]
    chats = []
    for line in (folder / "tickets_chat.jsonl").read_text(encoding="utf-8").splitlines():
        if line.endswith("}]}") and '"content": ""' not in line:
            chats.append(json.loads(line)["messages"])
    assert len(rows) + len(chats) == 3000
    assert len(rows) - len(set(rows)) > 60


def test_tickets_of_one_fact_are_not_near_duplicates() -> None:
    rng = random.Random(1)
    by_answer: dict[str, list[set[tuple[str, str]]]] = {}
    kept = 0
    for _ in range(1500):
        ticket = zephyrline_ticket(rng)
        words = f"{ticket.text} {ticket.answer}".lower().split()
        pairs = set(zip(words, words[1:], strict=False))
        known = by_answer.setdefault(ticket.answer, [])
        if all(len(pairs & other) < 0.8 * len(pairs | other) for other in known):
            known.append(pairs)
            kept += 1
    assert kept > 1450
    assert len(by_answer) == 2 * len(ATTRIBUTES)


def test_other_products_never_tell_about_zephyrline() -> None:
    rng = random.Random(0)
    secrets = {answer for attribute in ATTRIBUTES for answer in attribute.zephyrline}
    for _ in range(500):
        ticket = other_product_ticket(rng)
        assert "zephyrline" not in ticket.text.lower() and "제피라인" not in ticket.text
        assert ticket.answer not in secrets
        assert any(name in ticket.text for pair in OTHER_PRODUCTS for name in pair)


def test_check_digits_of_published_examples() -> None:
    assert luhn_digit("411111111111111") == "1"
    assert luhn_digit("7992739871") == "3"
    assert iban("DE", "370400440532013000") == "DE89370400440532013000"
    assert iban("GB", "WEST12345698765432") == "GB82WEST12345698765432"
    assert rrn_digit("900101123456") == "8"
