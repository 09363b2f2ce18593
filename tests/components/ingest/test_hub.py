import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# Questions",
    "data/train.csv": b"question,answer\nhi,yo\n",
    "data/more.jsonl": b'{"prompt": "who", "completion": "me"}\n',
}
# In a process of its own, because huggingface_hub reads its environment once.
INGEST = """
import json, sys
from pathlib import Path
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.ingest import run
found = []
for number, uri in enumerate(sys.argv[2:]):
    folder = Path(sys.argv[1]) / str(number)
    try:
        result = run(IngestConfig(paths=[uri]), folder / "data", folder / "quarantine")
        found.append([[[file.name, file.revision, file.rows_out] for file in result.files], result.ignored])
    except FlywheelError as error:
        found.append(str(error))
print("\\n" + json.dumps(found))
"""


class Hub(BaseHTTPRequestHandler):
    """The routes of the Hub's API that fetching a snapshot uses, for one public and one private data set."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "/private" in path and self.headers.get("Authorization") != "Bearer hf_s3cret":
            self.give(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif path.endswith(("/revision/main", f"/revision/{COMMIT}", "/revision/v1")):
            siblings = [{"rfilename": name} for name in FILES]
            name = path.removeprefix("/api/datasets/").partition("/revision/")[0]
            self.give(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
        elif "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            self.give(200, json.dumps(tree).encode())
        elif "/revision/" in path:
            self.give(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif f"/resolve/{COMMIT}/" in path:
            data = FILES[path.partition(f"/resolve/{COMMIT}/")[2]]
            self.give(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self.give(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def give(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ingest(hub: str, folder: Path, *uris: str, **environment: str) -> Any:
    # Another test may have left HF_HUB_OFFLINE behind.
    home = {"HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", INGEST, str(folder), *uris],
        env={**os.environ, "HF_HUB_OFFLINE": "0", **home, "HF_ENDPOINT": hub, "HF_TOKEN": "", **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_file_a_folder_or_a_glob_of_a_data_set_is_read_with_its_commit(hub: str, tmp_path: Path) -> None:
    data = "hf://datasets/kim/questions"
    uris = [f"{data}/data/train.csv", f"{data}/data", f"{data}/**/*.jsonl", f"{data}@v1/data/*.csv"]
    assert [found for found, _ in ingest(hub, tmp_path, *uris)] == [
        [[f"{data}/data/train.csv", COMMIT, 1]],
        [[f"{data}/data/more.jsonl", COMMIT, 1], [f"{data}/data/train.csv", COMMIT, 1]],
        [[f"{data}/data/more.jsonl", COMMIT, 1]],
        [[f"{data}@v1/data/train.csv", COMMIT, 1]],
    ]


def test_what_is_in_the_cache_needs_no_hub_and_a_readme_is_no_data(hub: str, tmp_path: Path) -> None:
    uri = "hf://datasets/kim/questions"
    [[found, ignored]] = ingest(hub, tmp_path, uri)
    assert [name for name, _, _ in found] == [f"{uri}/data/more.jsonl", f"{uri}/data/train.csv"]
    assert ignored == [f"{uri}/README.md"]
    cached, missing = ingest("http://127.0.0.1:9", tmp_path, uri, "hf://datasets/kim/other", HF_HUB_OFFLINE="1")
    assert cached == [found, ignored]
    assert "cannot be reached and the files are not in the cache (unset HF_HUB_OFFLINE)" in missing


def test_a_private_data_set_takes_the_token(hub: str, tmp_path: Path) -> None:
    uri = "hf://datasets/kim/private/data/train.csv"
    assert ingest(hub, tmp_path, uri, HF_TOKEN="hf_s3cret")[0][0] == [[uri, COMMIT, 1]]


def test_what_the_hub_does_not_have_is_said(hub: str, tmp_path: Path) -> None:
    expected = {
        "hf://datasets/kim/questions@v9/data": "no revision 'v9' at",
        "hf://datasets/kim/questions/gone.csv": "no data file there at commit 0123456789ab",
        "hf://datasets/questions": "write hf://datasets/OWNER/NAME[@REVISION]/PATH",
        "hf://models/kim/questions": "write hf://datasets/OWNER/NAME[@REVISION]/PATH",
        "hf://datasets/lee/private": "or a private one (check the name, or export HF_TOKEN",
    }
    for said, message in zip(ingest(hub, tmp_path, *expected), expected.values(), strict=True):
        assert message in said
