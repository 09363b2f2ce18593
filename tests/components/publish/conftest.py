import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """What the steps before publish leave behind; ``weights`` and ``passed`` may be chosen."""

    def make(weights: bytes = b"adapter", passed: bool = True) -> dict[str, Path]:
        folder = tmp_path / "inputs"
        shutil.rmtree(folder, ignore_errors=True)
        lineage = {"kind": "adapter", "base": "tiny-1", "dataset_version": "d1", "seed": 7, "run_id": "run-1"}
        lineage |= {"recipe": {"lora": {"r": 16}, "steps": 3}, "created": "2026-01-01T00:00:00+00:00"}
        write(folder / "model" / "flywheel.json", lineage)
        (folder / "model" / "adapter_model.safetensors").write_bytes(weights)
        write(folder / "model" / "adapter_config.json", {"r": 16})
        write(folder / "base" / "config.json", {"model_type": "llama"})
        write(folder / "base" / "flywheel.json", {"kind": "full", "base": "tiny-1"})
        manifest = {"version": "d1", "splits": {"train": 80, "test": 20}, "dropped": {"near_duplicate": 4}}
        write(folder / "dataset" / "manifest.json", {**manifest, "pii": {"masked": {"EMAIL": 12}}})
        write(folder / "tuned.json", {"metrics": {"exact_match": 0.8, "exact_match_n": 20, "broken": None}})
        numbers = {"metric": "exact_match", "base": 0.1, "tuned": 0.8, "gain": 0.7, "min_gain": 0.05}
        reason = "ok" if passed else "gain too small: 0.0100 < min_gain 0.05"
        write(folder / "decision.json", {"passed": passed, "reason": reason, "numbers": numbers})
        return {
            "model": folder / "model",
            "base": folder / "base",
            "dataset": folder / "dataset",
            "tuned_results": folder / "tuned.json",
            "decision": folder / "decision.json",
            "card": folder / "out" / "card.md",
        }

    return make
