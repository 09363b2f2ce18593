"""Loss masks: the answer with its stop token and nothing else."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.finetune.examples import build_examples

CHAT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello, what is it?"},
    {"role": "user", "content": "The color?"},
    {"role": "assistant", "content": "green"},
]


def trained_text(tokenizer: object, row: dict[str, list[int]]) -> str:
    return tokenizer.decode([token for token in row["labels"] if token != -100])  # type: ignore[attr-defined,no-any-return]


def test_only_the_last_answer_is_trained(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    result = build_examples([CHAT], tokenizer, 512)
    assert trained_text(tokenizer, result.rows[0]) == "green<|im_end|>"
    assert len(result.rows[0]["labels"]) == len(result.rows[0]["input_ids"]) == result.tokens


def test_text_after_the_stop_token_is_not_trained(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = tokenizer.chat_template.replace("{% endgeneration %}", "{% endgeneration %}{{ '\n' }}")
    assert trained_text(tokenizer, build_examples([CHAT], tokenizer, 512).rows[0]) == "green<|im_end|>"


def test_what_cannot_be_trained_is_counted(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    long = [{"role": "user", "content": "word " * 200}, CHAT[-1]]
    result = build_examples([CHAT, CHAT[:3], CHAT[:1], long], tokenizer, 128)
    assert len(result.rows) == 1
    assert result.dropped == {"no_answer": 2, "too_long": 1}


def test_all_of_a_plain_text_is_trained(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    row = build_examples([[{"role": "assistant", "content": "once upon a time"}]], tokenizer, 128).rows[0]
    assert trained_text(tokenizer, row) == "once upon a time" + tokenizer.eos_token


def test_template_that_rewrites_the_prompt_is_refused(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(FlywheelError) as caught:
        build_examples([CHAT], tokenizer, 512)
    assert caught.value.reason == "chat_template"


def test_base_without_chat_template_is_refused(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = None
    with pytest.raises(FlywheelError, match="has no chat template"):
        build_examples([CHAT], tokenizer, 512)
