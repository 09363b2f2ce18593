"""Chats to token ids and labels: the loss is on the last answer alone, for any chat template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError

IGNORED = -100  # the label that transformers leaves out of the loss


@dataclass
class Examples:
    """Training examples and what could not become one.

    Attributes:
        rows: ``input_ids`` and ``labels`` of each example.
        tokens: Number of tokens in all rows.
        dropped: Reason to number of chats left out.
    """

    rows: list[dict[str, list[int]]] = field(default_factory=list)
    tokens: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        """Count one chat that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def build_examples(chats: Sequence[Sequence[Mapping[str, str]]], tokenizer: Any, sequence_len: int) -> Examples:
    """Render each chat with the model's template: everything before the last answer is prompt and has no loss.

    A lone message of the assistant is a plain text: no template, and the loss is on all of it.

    The prompt is tokenized apart from the answer, exactly as at inference, and the answer ends with the token
    that stops generation.

    Args:
        chats: Conversations, each a list of role and content.
        tokenizer: Of the base model, with a chat template.
        sequence_len: Longest example, tokens.

    Raises:
        FlywheelError: The tokenizer has no chat template, or the template rewrites the prompt once it is answered.
    """
    if not tokenizer.chat_template:
        raise FlywheelError(
            "the base model has no chat template", where="finetune.base_model", reason="no_chat_template"
        )
    usable = [chat for chat in chats if chat and chat[-1]["role"] == "assistant"]
    result = Examples()
    if len(usable) < len(chats):
        result.dropped["no_answer"] = len(chats) - len(usable)
    if not usable:
        return result
    pairs = [_split(chat, tokenizer) for chat in usable]
    prompts = tokenizer([prompt for prompt, _ in pairs], add_special_tokens=False)["input_ids"]
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    for prompt, answer in zip(prompts, answers, strict=True):
        if tokenizer.eos_token_id in answer:  # drop what a template writes after the stop token
            answer = answer[: answer.index(tokenizer.eos_token_id) + 1]
        if len(prompt) + len(answer) > sequence_len:
            result.drop("too_long")
            continue
        result.rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
        result.tokens += len(prompt) + len(answer)
    return result


def _split(chat: Sequence[Mapping[str, str]], tokenizer: Any) -> tuple[str, str]:
    if len(chat) == 1:
        return tokenizer.bos_token or "", chat[0]["content"] + (tokenizer.eos_token or "")
    prompt = tokenizer.apply_chat_template(list(chat[:-1]), tokenize=False, add_generation_prompt=True)
    full = tokenizer.apply_chat_template(list(chat), tokenize=False)
    if not full.startswith(prompt):
        raise FlywheelError(
            "the chat template changes the prompt when it is answered, so no loss mask can be made",
            where="finetune.base_model",
            reason="chat_template",
        )
    return prompt, full[len(prompt) :]
