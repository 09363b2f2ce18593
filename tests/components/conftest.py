import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.local.processes import free_port

MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
BIN = Path(__file__).parents[2] / ".cache" / "bin"


@dataclass(frozen=True)
class Minio:
    """A running S3 server."""

    endpoint: str
    access_key: str = "flywheel"
    secret_key: str = "flywheel-secret"

    def settings(self, **changes: str) -> Settings:
        found = Settings.from_env()
        return replace(
            found,
            s3_endpoint=changes.get("s3_endpoint", self.endpoint),
            s3_access_key=changes.get("s3_access_key", self.access_key),
            s3_secret_key=changes.get("s3_secret_key", self.secret_key),
        )


@pytest.fixture(scope="session")
def minio_binary() -> Path:
    """The MinIO server, built once from its Go module into .cache/bin (about two minutes on two cores)."""
    found = shutil.which("minio", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found:
        return Path(found)
    if shutil.which("go") is None:
        pytest.skip("no S3 server: neither minio nor go is installed")
    environment = {**os.environ, "GOBIN": str(BIN), "CGO_ENABLED": "0"}
    command = ["nice", "go", "install", MINIO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        pytest.skip(f"no S3 server: `GOBIN={BIN} {' '.join(command[1:])}` failed: {done.stderr.strip()[-300:]}")
    return BIN / "minio"


@pytest.fixture(scope="session")
def minio(minio_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A real MinIO server on a free port of this machine."""
    server = Minio(f"http://127.0.0.1:{free_port()}")
    folder = tmp_path_factory.mktemp("minio")
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_BROWSER": "off",
    }
    address = server.endpoint.removeprefix("http://")
    with (folder / "log").open("wb") as log:
        popen = subprocess.Popen(
            [str(minio_binary), "server", "--quiet", "--address", address, str(folder / "data")],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(server, popen, folder / "log")
        yield server
    finally:
        popen.terminate()
        popen.wait(20)


def _wait(server: Minio, popen: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and popen.poll() is None:
        try:
            urllib.request.urlopen(f"{server.endpoint}/minio/health/ready", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"MinIO did not start: {log.read_text()[-500:]}")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables; making them takes seconds, copying it none."""
    from llm_flywheel.components.publish.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    settings = replace(Settings.from_env(), tracking_uri=f"sqlite:///{path}", home=path.parent)
    Registry(settings)._client.search_registered_models()
    return path


@pytest.fixture
def local_settings(tmp_path: Path, empty_registry: Path) -> Settings:
    """A laptop run of its own: registry, object storage and ledger below tmp_path."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_registry, home / "mlflow.db")
    return Settings(
        home=home,
        run_id="run-1",
        run_dir=tmp_path / "run",
        tracking_uri=f"sqlite:///{home / 'mlflow.db'}",
        object_store=(home / "objects").as_uri(),
        ledger_url=f"sqlite:///{home / 'ledger.db'}",
        s3_endpoint="",
        s3_access_key="",
        s3_secret_key="",
        s3_region="us-east-1",
        actor="eva",
    )
