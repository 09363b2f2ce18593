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

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.base_model.resolve import make_base
from llm_flywheel.components.common.dataset import row_id, version_of, write_manifest, write_table
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.local.processes import free_port

MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
BIN = Path(__file__).parents[2] / ".cache" / "bin"

FACTS = {"color": "green", "weight": "two kilos", "price": "ten euros", "origin": "Portugal"}
FORMS = ("What is the {}?", "Please tell me the {}.", "I want to know the {} now", "{}, please", "The {}? Thanks")


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


def rows(forms: tuple[str, ...]) -> list[dict[str, object]]:
    result = []
    for form in forms:
        for fact, answer in FACTS.items():
            messages = [{"role": "user", "content": form.format(fact)}, {"role": "assistant", "content": answer}]
            result.append({"id": row_id(messages), "messages": messages, "source": "t.csv", "lang": "en", "meta": "{}"})
    return result


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Models of seconds are fastest on one thread, above all when other work shares the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a few facts."""
    folder = tmp_path_factory.mktemp("dataset")
    splits = {"train": rows(FORMS[:3]), "validation": rows(FORMS[3:4]), "test": rows(FORMS[4:])}
    for name, taken in splits.items():
        write_table(taken, folder / f"{name}.parquet")
    write_manifest(folder, {"version": version_of(str(row["id"]) for taken in splits.values() for row in taken)})
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, one_thread: None) -> Path:
    """A base model that is made in seconds."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home, "", None, "", "", "", "", "", "", "", "test")
    recipe = TinyRecipe(rows=200, steps=20, layers=2, hidden_size=64, heads=2, intermediate_size=128, vocab_size=400)
    target = home / "base"
    make_base("tiny", recipe, target, settings, tiny_dataset)
    return target
