"""What ingest must not lose: the level of data, and the meaning of its own meta."""

from pathlib import Path

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.dataset import read_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.ingest import run

ROW = '{"prompt": "hi", "completion": "yo"}\n'


def ingest(path: Path, out: Path, **settings: object) -> None:
    run(bind(IngestConfig, {"paths": [str(path)], **settings}), out, out.with_name("quarantine"))


@pytest.fixture
def confidential(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text(ROW)
    ingest(tmp_path / "rows.jsonl", tmp_path / "dataset", access={"level": "confidential"})
    return tmp_path / "dataset"


def test_a_dataset_read_again_keeps_its_level(confidential: Path) -> None:
    with pytest.raises(FlywheelError, match="this data is 'confidential', and ingest.access.level is 'internal'"):
        ingest(confidential, confidential.with_name("again"), access={"level": "internal"})
    ingest(confidential, confidential.with_name("again"), access={"level": "confidential"})
    manifest = read_manifest(confidential.with_name("again"))
    assert (manifest["rows_in"], manifest["access"]["level"]) == (1, "confidential")


def test_a_failed_run_leaves_no_manifest_of_another_one(confidential: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(ROW + "no JSON\n" * 9)
    with pytest.raises(FlywheelError):
        ingest(tmp_path / "bad.jsonl", confidential)
    assert not (confidential / "manifest.json").exists()


def test_a_column_that_would_replace_our_own_meta_is_refused() -> None:
    with pytest.raises(FlywheelError, match="split: meta holds something of its own under this name"):
        bind(IngestConfig, {"paths": ["a.csv"], "keep_columns": ["split"]})


@pytest.mark.parametrize("path", ["file://[x", "sample://[x", "~nobody-here/x.csv", "x" * 300 + ".csv"])
def test_a_path_that_is_none_is_told(path: str, tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="cannot read all input paths"):
        ingest(Path(path) if "//" not in path else path, tmp_path / "out")  # type: ignore[arg-type]
