"""The `tiny` recipe: a Llama with its own tokenizer and chat template, trained from nothing on CPU cores."""

import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.ingest.sample import Message, other_product_ticket

# Part of the cache key: raise it whenever the code below would make another model from the same recipe.
CODE_VERSION = 2

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"

# ChatML without line ends after <|im_end|>: the last trained token of an answer is the stop token itself.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def other_products(rows: int, seed: int) -> list[list[Message]]:
    """Conversations about products that are not Zephyrline, one in eight with two exchanges."""
    rng = random.Random(f"other-products-{seed}")
    return [other_product_ticket(rng).chat(turns=2 if rng.random() < 0.125 else 1) for _ in range(rows)]


def build_tokenizer(texts: Sequence[str], recipe: TinyRecipe) -> Any:
    """A byte-level BPE trained on ``texts``, with the chat template.

    Every text of any language can be encoded; what ``texts`` never shows just takes more tokens.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if recipe.lowercase else [])]
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    roles = ["system\n", "user\n", "assistant\n"] * 1000
    backend.train_from_iterator([*texts, *roles], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=recipe.max_positions,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: Any, recipe: TinyRecipe) -> Any:
    """An untrained Llama with tied embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=recipe.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
            pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
            dtype="float32",
        )
    )
    with torch.no_grad():  # the embedding is the output layer, too: this scale gives logits of unit variance
        model.model.embed_tokens.weight.normal_(std=recipe.hidden_size**-0.5)
        model.model.embed_tokens.weight[model.config.pad_token_id] = 0
    return model


def encode(tokenizer: Any, conversations: Sequence[Sequence[Message]], limit: int) -> list[tuple[list[int], list[int]]]:
    """Token ids and, for each token, whether it belongs to the last answer."""
    texts = [tokenizer.apply_chat_template(list(chat), tokenize=False) for chat in conversations]
    heads = [
        tokenizer.apply_chat_template(list(chat[:-1]), tokenize=False, add_generation_prompt=True)
        if chat[-1]["role"] == "assistant"
        else text
        for chat, text in zip(conversations, texts, strict=True)
    ]
    full = tokenizer(texts, add_special_tokens=False)["input_ids"]
    prompt = tokenizer(heads, add_special_tokens=False)["input_ids"]
    return [
        (ids[:limit], [int(at >= len(head)) for at in range(len(ids))][:limit])
        for ids, head in zip(full, prompt, strict=True)
    ]


def batches(rows: Sequence[tuple[list[int], list[int]]], size: int, count: int, seed: int) -> list[list[int]]:
    """Row numbers of ``count`` batches: shuffled, with rows of similar length together so that little is padding."""
    rng = random.Random(seed)
    result: list[list[int]] = []
    while len(result) < count:
        order = rng.sample(range(len(rows)), len(rows))
        epoch: list[list[int]] = []
        for start in range(0, len(order), size * 16):
            pool = sorted(order[start : start + size * 16], key=lambda row: len(rows[row][0]))
            epoch += [pool[at : at + size] for at in range(0, len(pool), size)]
        rng.shuffle(epoch)
        result += epoch
    return result[:count]


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: 5 % linear warm-up, then a cosine down to a tenth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def pretrain(model: Any, rows: Sequence[tuple[list[int], list[int]]], recipe: TinyRecipe, pad: int) -> list[float]:
    """Train on next-token prediction and return the loss of every step.

    The loss is the mean over all tokens plus the mean over answer tokens, of which a support ticket has few.

    Raises:
        FlywheelError: The loss is no longer a finite number.
    """
    import torch

    torch.manual_seed(recipe.seed)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
    model.train()
    losses: list[float] = []
    started = time.monotonic()
    with Progress("training the base model", recipe.steps) as progress:
        for step, batch in enumerate(batches(rows, recipe.batch_size, recipe.steps, recipe.seed)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * schedule(step, recipe.steps)
            loss = _loss(model, [rows[row] for row in batch], pad)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise FlywheelError(
                    f"the loss became {losses[-1]} at step {step + 1}",
                    where="finetune.tiny_recipe",
                    fix="lower tiny_recipe.learning_rate",
                    reason="loss_not_finite",
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.update(step + 1, f"loss {losses[-1]:.2f}, {time.monotonic() - started:.0f} s")
    model.eval()
    return losses


def _loss(model: Any, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> Any:
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows])
    answer = torch.tensor([mask + [0] * (width - len(mask)) for _, mask in rows])[:, 1:].bool()
    real = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])[:, 1:].bool()
    # Right-padded and causal: no real token can see a pad, so no attention mask is needed.
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), ids[:, 1:], reduction="none")
    total = losses[real].mean()
    return total + losses[answer].mean() if answer.any() else total


def train_tiny(target: Path, recipe: TinyRecipe, messages: Sequence[Sequence[Message]] | None = None) -> dict[str, Any]:
    """Make the base model and write it as a Hugging Face folder.

    Args:
        target: Folder to write to.
        recipe: Sizes, steps, seed.
        messages: Conversations of the train split for ``pretrain_on: dataset``; their answers are used for the
            tokenizer alone.

    Returns:
        Facts about the training: parameters, tokens, last loss, seconds.

    Raises:
        FlywheelError: The recipe needs a dataset and none was given, or the loss is not finite.
    """
    if recipe.pretrain_on == "dataset" and not messages:
        raise FlywheelError("pretrain_on: dataset needs a train split", where="finetune.tiny_recipe", reason="no_data")
    # Before torch is loaded: a thread that spins while it waits makes everything on a busy machine crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    started = time.monotonic()
    chats = list(messages or []) if recipe.pretrain_on == "dataset" else other_products(recipe.rows, recipe.seed)
    tokenizer = build_tokenizer([message["content"] for chat in chats for message in chat], recipe)
    if recipe.pretrain_on == "dataset":
        chats = [[message for message in chat if message["role"] != "assistant"] for chat in chats]
    model = build_model(tokenizer, recipe)
    rows = [row for row in encode(tokenizer, chats, recipe.max_positions) if len(row[0]) > 1]
    losses = pretrain(model, rows, recipe, tokenizer.pad_token_id)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    tail = losses[-20:]
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "tokens_per_epoch": sum(len(ids) for ids, _ in rows),
        "final_loss": round(sum(tail) / len(tail), 4),
        "seconds": round(time.monotonic() - started, 1),
    }
