from typing import Any

import pytest

from llm_flywheel.components.ingest.config import Mapping
from llm_flywheel.components.ingest.convert import Rejected, detect_layout, from_mapping, to_messages


def convert(values: dict[str, Any], wanted: str = "auto") -> Any:
    layout = detect_layout(list(values), wanted)
    assert layout is not None
    return to_messages(values, layout, max_chars=100)


PAIR = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}, "messages"),
        ({"messages": '[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]'}, "messages"),
        ({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]}, "sharegpt"),
        ({"instruction": "hi", "input": "", "output": "yo"}, "alpaca"),
        ({"prompt": "hi", "completion": "yo"}, "prompt_completion"),
        (
            {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "yo"}]},
            "prompt_completion",
        ),
        ({"Question": "hi", "Answer": "yo", "label": 3}, "qa"),
        ({"Q": "hi", "A": "yo"}, "qa"),
    ],
)
def test_known_layouts_become_the_same_conversation(values: dict[str, Any], name: str) -> None:
    layout = detect_layout(list(values))
    assert layout is not None
    assert layout.name == name
    assert to_messages(values, layout, 100) == PAIR


def test_an_alpaca_input_follows_the_instruction_after_a_blank_line() -> None:
    assert convert({"instruction": "Add.", "input": "1 2", "output": "3"})[0]["content"] == "Add.\n\n1 2"


def test_a_system_column_is_per_row_and_a_mapped_system_message_is_for_all() -> None:
    own = convert({"prompt": "hi", "completion": "yo", "system": "Be kind."})
    assert own[0] == {"role": "system", "content": "Be kind."}
    layout = from_mapping(Mapping(user="text", assistant="category", system="Name the intent."))
    assert to_messages({"text": "hi", "category": "greeting"}, layout, 100) == [
        {"role": "system", "content": "Name the intent."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "greeting"},
    ]


@pytest.mark.parametrize(
    ("values", "reason", "detail"),
    [
        ({"prompt": "hi", "completion": None}, "missing_field", "completion"),
        ({"prompt": " \n", "completion": "yo"}, "empty_field", "prompt"),
        ({"prompt": 7, "completion": "yo"}, "wrong_type", "prompt: int, not text"),
        ({"prompt": "a\x00b", "completion": "yo"}, "nul_byte", "prompt"),
        ({"prompt": "x" * 99, "completion": "yo"}, "too_large", "101 characters, the limit is 100"),
        ({"messages": []}, "empty_field", "messages"),
        ({"messages": {"role": "user"}}, "wrong_type", "messages: dict, not a list"),
        ({"messages": ["hi"]}, "wrong_type", "messages[0]: str, not an object"),
        ({"messages": [{"content": "hi"}]}, "missing_field", "messages[0]: no role"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0].content"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "role", "messages[0]: not one of system, user, assistant"),
        ({"messages": "not json"}, "wrong_type", "messages: text that is not a JSON list"),
    ],
)
def test_a_row_that_cannot_be_used_has_a_reason_and_a_place(values: dict[str, Any], reason: str, detail: str) -> None:
    assert convert(values) == Rejected(reason, detail)


def test_half_a_surrogate_pair_is_refused() -> None:
    rejected = convert({"prompt": "\ud83d", "completion": "yo"})
    assert rejected.reason == "surrogate"


def test_unknown_columns_have_no_layout_and_a_wanted_format_excludes_the_others() -> None:
    assert detect_layout(["text", "category"]) is None
    assert detect_layout(["prompt", "completion"], "alpaca") is None


TEXT = [{"role": "assistant", "content": "Once upon a time"}]


def test_a_text_becomes_one_message_of_the_assistant() -> None:
    assert convert({"Text": "Once upon a time"}) == TEXT
    assert convert({"text": "Once upon a time", "url": "x"}, "text") == TEXT
    layout = from_mapping(Mapping(assistant="body"))
    assert to_messages({"body": "Once upon a time", "user": "x"}, layout, 100) == TEXT
