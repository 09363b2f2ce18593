import json
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.config import RuntimeConfig
from llm_flywheel.serving.local.vllm import Variant, arguments, check_adapter, environment, plan_servers


def base(folder: Path, template: str | None = "T") -> str:
    folder.mkdir(parents=True)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def adapter(folder: Path, template: str | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 16, "bias": "none", **config}))
    if template is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


def test_a_bare_base_and_its_adapter_share_one_server(tmp_path: Path) -> None:
    weights, tuned = base(tmp_path / "base"), adapter(tmp_path / "a", "T")
    (plan,) = plan_servers([Variant("stable", weights), Variant("canary", weights, tuned)])
    assert (plan.name, plan.model, plan.template) == ("vllm", weights, "")
    assert plan.adapters == {"canary": tuned}
    assert plan.variants == {"stable": "base", "canary": "canary"}


def test_two_adapters_of_one_base_share_one_server(tmp_path: Path) -> None:
    weights = base(tmp_path / "base")
    old, new = adapter(tmp_path / "a"), adapter(tmp_path / "b", r=24)
    (plan,) = plan_servers([Variant("stable", weights, old), Variant("canary", weights, new)])
    assert plan.variants == {"stable": "stable", "canary": "canary"}
    line = " ".join(arguments(plan, RuntimeConfig(args=["--seed", "1"]), "cpu", 8123))
    assert line.split(" -m ")[1] == (
        f"vllm.entrypoints.openai.api_server --model {weights} --host 127.0.0.1 --port 8123 --served-model-name base "
        "--max-model-len 512 --max-num-seqs 16 --dtype auto --enforce-eager --seed 1 --enable-lora --max-loras 2 "
        f"--max-lora-rank 32 --lora-modules stable={old} canary={new}"
    )
    assert "disable-log-stats" not in line


def test_different_weights_get_a_server_each(tmp_path: Path) -> None:
    first, second = base(tmp_path / "1"), base(tmp_path / "2")
    plans = plan_servers([Variant("stable", first), Variant("canary", second)])
    assert [(plan.name, plan.model, plan.variants) for plan in plans] == [
        ("vllm-stable", first, {"stable": "base"}),
        ("vllm-canary", second, {"canary": "base"}),
    ]
    # One GPU holds both.
    line = " ".join(arguments(plans[0], RuntimeConfig(), "gpu", 1))
    assert "--gpu-memory-utilization 0.45" in line


def test_an_adapter_with_another_chat_template_gets_its_own_server(tmp_path: Path) -> None:
    weights, tuned = base(tmp_path / "base", "old"), adapter(tmp_path / "a", "new")
    stable, canary = plan_servers([Variant("stable", weights), Variant("canary", weights, tuned)])
    assert (stable.template, canary.template) == ("", "new")
    file = tmp_path / "canary.jinja"
    assert arguments(canary, RuntimeConfig(), "cpu", 1, file).count(str(file)) == 1


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    weights = base(tmp_path / "base", None)
    with pytest.raises(FlywheelError, match="no chat template") as caught:
        plan_servers([Variant("stable", weights)])
    assert caught.value.reason == "chat_template"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"r": 1024}, "ranks up to 512"),
        ({"r": None}, "no LoRA adapter"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_refused_before_it_starts(
    tmp_path: Path, config: dict[str, Any], problem: str
) -> None:
    with pytest.raises(FlywheelError, match=problem):
        check_adapter(adapter(tmp_path / "a", **config))


def test_a_hub_id_may_be_fetched_and_a_folder_stays_offline(tmp_path: Path) -> None:
    (local,) = plan_servers([Variant("stable", base(tmp_path / "base"))])
    (remote,) = plan_servers([Variant("stable", "Qwen/Qwen3-0.6B")])
    assert environment(local, "cpu")["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(remote, "gpu")
    assert arguments(remote, RuntimeConfig(), "gpu", 1)[1:5] == [
        "-m",
        "vllm.entrypoints.cli.main",
        "serve",
        remote.model,
    ]
