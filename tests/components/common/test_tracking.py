import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.tracking import explained

URI = "postgresql+psycopg://eva:s3cr3t@db/mlflow"


def test_a_package_that_only_this_address_needs_is_named() -> None:
    with pytest.raises(FlywheelError, match="MLflow needs no_such_package") as caught, explained(URI):
        import no_such_package  # noqa: F401
    assert caught.value.reason == "missing"
    assert caught.value.where == "postgresql+psycopg://eva:***@db/mlflow"


def test_an_error_without_a_message_is_explained_by_its_type() -> None:
    with pytest.raises(FlywheelError, match="MLflow refused: ConnectionResetError") as caught, explained(URI):
        raise ConnectionResetError
    assert caught.value.reason == "registry"
