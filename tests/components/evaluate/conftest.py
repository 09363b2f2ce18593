"""A base model of seconds and a dataset of a few facts."""

import os
from pathlib import Path

import pytest

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.base_model.resolve import make_base
from llm_flywheel.components.common.dataset import row_id, version_of, write_manifest, write_table
from llm_flywheel.components.common.settings import Settings

FACTS = {"color": "green", "weight": "two kilos", "price": "ten euros", "origin": "Portugal"}
FORMS = ("What is the {}?", "Please tell me the {}.", "I want to know the {} now", "{}, please", "The {}? Thanks")


def rows(forms: tuple[str, ...]) -> list[dict[str, object]]:
    result = []
    for form in forms:
        for fact, answer in FACTS.items():
            messages = [{"role": "user", "content": form.format(fact)}, {"role": "assistant", "content": answer}]
            result.append({"id": row_id(messages), "messages": messages, "source": "t.csv", "lang": "en", "meta": "{}"})
    return result


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of seconds are fastest on one thread, above all when other work shares the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    splits = {"train": rows(FORMS[:3]), "validation": rows(FORMS[3:4]), "test": rows(FORMS[4:])}
    for name, taken in splits.items():
        write_table(taken, folder / f"{name}.parquet")
    write_manifest(folder, {"version": version_of(str(row["id"]) for taken in splits.values() for row in taken)})
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Path:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home, "", None, "", "", "", "", "", "", "", "test")
    recipe = TinyRecipe(rows=200, steps=20, layers=2, hidden_size=64, heads=2, intermediate_size=128, vocab_size=400)
    target = home / "base"
    make_base("tiny", recipe, target, settings, tiny_dataset)
    return target
