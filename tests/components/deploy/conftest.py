from collections.abc import Callable
from typing import Any

import pytest

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.tracking import open_client


@pytest.fixture
def register(local_settings: Settings) -> Callable[..., str]:
    """Register a version of ``support`` as publish does; returns its version."""
    client = open_client(local_settings)
    client.create_registered_model("support")

    def make(
        uri: str, *, kind: str = "full", base_uri: str = "s3://models/_base/1", alias: str = "", **tags: Any
    ) -> str:
        made = client.create_model_version("support", uri, tags={"kind": kind, "base_uri": base_uri, **tags})
        if alias:
            client.set_registered_model_alias("support", alias, made.version)
        return str(made.version)

    return make
