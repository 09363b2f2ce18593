"""A fresh ledger per test, on SQLite and on a real PostgreSQL server that the tests start themselves."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from llm_flywheel.serving.ledger.ledger import Ledger


def _postgres_bin() -> Path | None:
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


def _unprivileged() -> dict[str, Any]:
    """Arguments for Popen: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a running server without the database name; skips where there is none."""
    folder = _postgres_bin()
    if folder is None:
        pytest.skip("no postgres binary on this machine (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip('no PostgreSQL driver (pip install "psycopg[binary]")')
    identity = _unprivileged()
    with (
        tempfile.TemporaryDirectory(prefix="flywheel-pg-", ignore_cleanup_errors=True) as home,
        socket.socket() as free,
    ):
        if identity:
            os.chown(home, identity["user"], identity["group"])
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        data = f"{home}/data"
        initdb = [folder / "initdb", "-D", data, "-U", "flywheel", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=home, **identity)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
        server = subprocess.Popen(
            [folder / "postgres", "-D", data, "-p", str(port), *options],
            stderr=subprocess.DEVNULL, cwd=home, **identity,
        )  # fmt: skip
        try:
            ready = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "20"]
            for _ in range(100):
                if subprocess.run(ready, check=False).returncode == 0:
                    break
                assert server.poll() is None, "postgres did not start"
                time.sleep(0.1)
            yield f"postgresql+psycopg://flywheel@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            server.wait(60)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'ledger.db'}"
    server: str = request.getfixturevalue("postgres")
    name = f"t{uuid4().hex}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger.open(ledger_url) as opened:
        yield opened
