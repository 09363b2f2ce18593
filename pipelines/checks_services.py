"""Checks of what a run talks to: databases, MLflow, object storage, a Kubeflow Pipelines API."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

from llm_flywheel.components.common.errors import FlywheelError, first_line, without_password
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import local_path, store_for
from llm_flywheel.pipelines.checks import Check
from llm_flywheel.pipelines.checks_machine import writable

CONNECT_S = 3.0
DEFAULT_PORTS = {"http": 80, "https": 443}


def database(name: str, url: str, variable: str) -> Check:
    """A database answers; a SQLite file that does not exist yet can be made.

    Args:
        name: What it holds.
        url: SQLAlchemy URL; its password is never shown.
        variable: Environment variable that sets it.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    fix = f"export {variable}=postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except ArgumentError:
        return Check(name, False, f"{variable} is not a database URL", fix)
    shown = parsed.render_as_string(hide_password=True)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database and not Path(parsed.database).exists():
        return writable(name, Path(parsed.database).parent, f"export {variable}=sqlite:////a/writable/folder/file.db")
    try:
        timeout = {"timeout": CONNECT_S} if sqlite else {"connect_timeout": int(CONNECT_S)}
        engine = create_engine(parsed, connect_args=timeout)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM sqlite_master LIMIT 1" if sqlite else "SELECT 1"))
        engine.dispose()
    except ModuleNotFoundError as error:
        return Check(name, False, f"{shown}: no driver {error.name}", "pip install 'psycopg[binary]'")
    except SQLAlchemyError as error:
        reason = first_line(getattr(error, "orig", None) or error)
        return Check(name, False, f"{shown}: {reason}", f"start that database, or {fix}")
    return Check(name, True, shown)


def tracking(uri: str) -> Check:
    """MLflow can be used: its database, its folder, or the health page of its server."""
    scheme = urlsplit(uri).scheme
    if scheme in DEFAULT_PORTS:
        return _mlflow_server(uri)
    if scheme in ("", "file"):
        folder = local_path(uri) if scheme else Path(uri)
        return writable("MLflow", folder, "export MLFLOW_TRACKING_URI=sqlite:////a/writable/folder/mlflow.db")
    return database("MLflow", uri, "MLFLOW_TRACKING_URI")


def _mlflow_server(uri: str) -> Check:
    import urllib3

    fix = "start it: mlflow server --backend-store-uri sqlite:///mlflow.db, or unset MLFLOW_TRACKING_URI"
    shown = without_password(uri)
    address = f"{uri.rstrip('/')}/health"
    try:
        answer = urllib3.request("GET", address, timeout=CONNECT_S, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return Check("MLflow", False, f"{shown}: {str(error).rpartition(': ')[2]}", fix)
    if answer.status in (401, 403):
        return Check(
            "MLflow", False, f"{shown}: {answer.status}, it wants credentials", "export MLFLOW_TRACKING_TOKEN=…"
        )
    if answer.status != 200 or answer.data.strip() != b"OK":
        return Check("MLflow", False, f"{shown}: not an MLflow server (/health answers {answer.status})", fix)
    return Check("MLflow", True, shown)


def object_store(settings: Settings, *, shared: bool) -> Check:
    """Models can be stored.

    Args:
        settings: Address and credentials.
        shared: Whether other machines (pods) must be able to read them, which a local folder does not allow.
    """
    uri = settings.object_store
    s3 = (
        "export FLYWHEEL_OBJECT_STORE=s3://BUCKET/PREFIX AWS_ENDPOINT_URL=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…"
    )
    if urlsplit(uri).scheme == "file":
        if shared:
            return Check("object store", False, f"{uri}: pods cannot read a folder of this machine", s3)
        return writable("object store", local_path(uri), "export FLYWHEEL_OBJECT_STORE=file:///a/writable/folder")
    if settings.s3_endpoint:
        # The S3 client would retry for a long time.
        reach(settings.s3_endpoint, "start it, or correct AWS_ENDPOINT_URL")
    found = store_for(uri, settings).exists(uri)
    return Check("object store", True, f"{uri} ({'has objects' if found else 'empty'})")


def reach(url: str, fix: str) -> None:
    """Open and close a TCP connection to the host of ``url``; raises FlywheelError when nobody answers."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 443)
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise FlywheelError(
            f"cannot connect: {error}", where=without_password(url), fix=fix, reason="unreachable"
        ) from None


def kfp_api(host: str | None, token: str = "", ca_cert: str = "") -> Check:
    """A Kubeflow Pipelines API answers at ``host``."""
    from llm_flywheel.pipelines.kfp_backend import Backend

    if not host:
        return Check(
            "KFP API", False, "no address given", "flywheel doctor --target kubeflow --host https://HOST/pipeline"
        )
    backend = Backend(host, token=token, ca_cert=ca_cert)
    several = backend.multi_user()
    return Check("KFP API", True, f"{backend.host}, {'several users: give --namespace' if several else 'one user'}")
