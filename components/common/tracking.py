"""MLflow as the steps use it: a quiet client for one tracking and registry URI, and errors that a person can act on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError, first_line, without_password
from llm_flywheel.components.common.settings import Settings

# Aliases of a registered model's versions: the one that serves, and the one that is to take its place.
CHAMPION = "champion"
CHALLENGER = "challenger"


def open_client(settings: Settings) -> Any:
    """An MLflow client; MLflow is imported here, because that takes seconds.

    Raises:
        FlywheelError: MLflow is not installed, or the address is not usable.
    """
    with explained(settings.tracking_uri):
        from mlflow import MlflowClient

        quiet()
        if settings.tracking_uri.startswith("sqlite:///"):
            settings.home.mkdir(parents=True, exist_ok=True)
        return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def quiet() -> None:
    """MLflow tells about every database migration of a fresh SQLite file; warnings stay."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """MLflow's and the database's exceptions as one message with the address."""
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError as error:
        raise FlywheelError(
            f"{error.name} is not installed", fix="pip install 'llm-flywheel[tracking]'", reason="missing"
        ) from None
    try:
        yield
    except ModuleNotFoundError as error:  # what MLflow needs for one kind of address only: boto3, psycopg
        raise FlywheelError(
            f"MLflow needs {error.name} for this address or for its artifacts",
            where=without_password(uri),
            fix=f"pip install {error.name}",
            reason="missing",
        ) from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise FlywheelError(
            f"MLflow refused: {first_line(error)}",
            where=without_password(uri),
            fix="check MLFLOW_TRACKING_URI and that the server answers",
            reason="registry",
        ) from None
