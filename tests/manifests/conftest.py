"""What `kubectl kustomize` makes of a folder of manifests/."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"


@cache
def kustomize(folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here")
    done = subprocess.run([kubectl, "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=True)
    return {(body["kind"], body["metadata"]["name"]): body for body in yaml.safe_load_all(done.stdout)}


@pytest.fixture
def built() -> Any:
    return kustomize
