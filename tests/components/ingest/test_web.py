import gzip
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.dataset import read_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.files import SourceFile, find_files
from llm_flywheel.components.ingest.ingest import run
from llm_flywheel.components.ingest.web import fetch, without_secrets

CSV = b"question,answer\nhi,yo\n"


class Web(ThreadingHTTPServer):
    """A web server whose pages are functions, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {name.title(): value for name, value in self.headers.items()}))
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.give(404)
        else:
            page(self)

    def give(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def page(body: bytes = CSV, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.give(status, body, **headers)


def found(url: str, tmp_path: Path) -> SourceFile:
    return find_files([url], [], tmp_path / "scratch").files[0]


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/a.csv", {"Content_Type": "application/octet-stream"}, "csv"),
        ("/export", {"Content_Disposition": "attachment; filename*=UTF-8''%EC%A7%88%EB%AC%B8.jsonl"}, "jsonl"),
        ("/export", {"Content_Type": "text/tab-separated-values; charset=utf-8"}, "tsv"),
        ("/a.csv", {"Content_Disposition": 'attachment; filename="b.json"'}, "csv"),
    ],
)
def test_the_kind_is_told_by_the_address_then_the_disposition_then_the_type(
    web: Web, tmp_path: Path, path: str, headers: dict[str, str], kind: str
) -> None:
    web.pages[path] = page(**headers)
    file = found(web.url + path, tmp_path)
    assert (file.kind, file.name, file.path.read_bytes()) == (kind, web.url + path, CSV)


def test_what_nobody_can_tell_the_kind_of_is_refused(web: Web, tmp_path: Path) -> None:
    web.pages["/export"] = page(Content_Type="application/octet-stream")
    web.pages["/a.csv"] = page(b"<html>Log in", Content_Type="text/html")
    with pytest.raises(FlywheelError) as caught:
        find_files([f"{web.url}/export", f"{web.url}/a.csv", f"{web.url}/gone.csv"], [], tmp_path)
    for part in (
        f"{web.url}/export: neither the address nor the server's answer (application/octet-stream) tells",
        f"{web.url}/a.csv: the server answered with a web page",
        f"{web.url}/gone.csv: the server answered 404 Not Found (check the address)",
    ):
        assert part in caught.value.what


def test_a_dropped_download_goes_on_where_it_stopped(web: Web, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4_000

    def dropping(handler: Handler) -> None:
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        part, status = body[start : start + 600_000], 206 if start else 200
        content_range = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        handler.give(status, part, len(body) - start, ETag='"v1"', **content_range)

    web.pages["/a.csv"] = dropping
    assert fetch(f"{web.url}/a.csv", tmp_path, 10**9, pause_s=0.01).path.read_bytes() == body
    assert [headers.get("Range") for _, headers in web.asked] == [None, "bytes=600000-"]
    assert web.asked[1][1]["If-Range"] == '"v1"'


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(web: Web, tmp_path: Path) -> None:
    def changing(handler: Handler) -> None:
        if "Range" in handler.headers:
            handler.give(200, b"new", ETag='"v2"')
        else:
            handler.give(200, b"old old", 100, ETag='"v1"')

    web.pages["/a.csv"] = changing
    assert fetch(f"{web.url}/a.csv", tmp_path, 10**9, pause_s=0.01).path.read_bytes() == b"new"


def test_a_server_that_keeps_failing_is_given_up(web: Web, tmp_path: Path) -> None:
    web.pages["/a.csv"] = page(b"", 503)
    with pytest.raises(FlywheelError, match="the server answered 503 Service Unavailable, 5 times in a row"):
        fetch(f"{web.url}/a.csv", tmp_path, 10**9, pause_s=0.01)
    assert len(web.asked) == 5


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_beyond_the_limit_is_refused(web: Web, tmp_path: Path, announced: bool) -> None:
    def unannounced(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(bytes(2_000))

    web.pages["/a.csv"] = page(bytes(2_000)) if announced else unannounced
    with pytest.raises(FlywheelError, match="larger than 0.0 MB"):
        fetch(f"{web.url}/a.csv", tmp_path, 1_000)


def test_redirects_are_followed_but_not_off_the_encrypted_path(web: Web, tmp_path: Path) -> None:
    web.pages |= {
        "/a.csv": page(b"", 302, Location="/b"),
        "/b": page(),
        "/out.csv": page(b"", 301, Location="http://example.org/c.csv?token=s3cret"),
        "/round.csv": page(b"", 307, Location="/round.csv"),
    }
    assert found(f"{web.url}/a.csv", tmp_path).path.read_bytes() == CSV
    with pytest.raises(FlywheelError, match="leads to http://example.org; only https:// is fetched"):
        fetch(f"{web.url}/out.csv", tmp_path, 10**9)
    with pytest.raises(FlywheelError, match="more than 10 redirects"):
        fetch(f"{web.url}/round.csv", tmp_path, 10**9)


def test_credentials_are_sent_to_their_own_server_and_shown_nowhere(web: Web, tmp_path: Path) -> None:
    web.pages |= {"/a.csv": page(b"", 302, Location=f"http://localhost:{web.server_port}/b"), "/b": page()}
    url = f"http://kim:p%40ss@127.0.0.1:{web.server_port}/a.csv?X-Amz-Signature=abc&part=1"
    run(IngestConfig(paths=[url]), tmp_path / "data", tmp_path / "quarantine", tmp_path / "ingest.html")
    assert [headers.get("Authorization") for _, headers in web.asked] == ["Basic a2ltOnBAc3M=", None]
    manifest = read_manifest(tmp_path / "data")
    assert manifest["config"]["paths"] == [f"{web.url}/a.csv?X-Amz-Signature=***&part=1"]
    for text in (str(manifest), (tmp_path / "ingest.html").read_text()):
        assert "p%40ss" not in text and "kim" not in text and "abc" not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://cdn.example.com/npm/@scope/pkg@1.0/a.csv", "https://cdn.example.com/npm/@scope/pkg@1.0/a.csv"),
        ("https://host/a.csv", "https://host/a.csv"),
        ("https://kim:a/b@c@host/a.csv?x=1&x-token=2", "https://host/a.csv?x=1&x-token=***"),
        ("https://host/a?q=" + "x" * 30, "https://host/a?q=***"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_a_content_encoding_is_unpacked_once(web: Web, tmp_path: Path) -> None:
    packed = gzip.compress(CSV)
    web.pages |= {
        "/a.csv": page(packed, Content_Encoding="gzip"),
        "/b.csv.gz": page(packed, Content_Encoding="gzip"),
        "/c.csv": page(CSV, Content_Encoding="br"),
    }
    config = IngestConfig(paths=[f"{web.url}/a.csv", f"{web.url}/b.csv.gz"])
    assert run(config, tmp_path / "data", tmp_path / "quarantine").rows_out == 2
    with pytest.raises(FlywheelError, match="unknown Content-Encoding 'br'"):
        fetch(f"{web.url}/c.csv", tmp_path, 10**9)


@pytest.mark.parametrize("url", ["http://example.org/a.csv", "https://kim:a/b@host/a.csv", "https:///a.csv"])
def test_an_address_that_cannot_be_fetched_safely_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(FlywheelError) as caught:
        fetch(url, tmp_path, 10**9)
    assert caught.value.reason == "address"


def test_a_nul_in_a_name_is_no_part_of_it(web: Web, tmp_path: Path) -> None:
    web.pages["/a%00.csv"] = page()
    web.pages["/export"] = page(Content_Disposition="attachment; filename*=UTF-8''b%00.csv")
    assert found(f"{web.url}/a%00.csv", tmp_path / "1").path.read_bytes() == CSV
    assert found(f"{web.url}/export", tmp_path / "2").path.read_bytes() == CSV


def test_a_password_is_sent_as_utf_8(web: Web, tmp_path: Path) -> None:
    web.pages["/a.csv"] = page()
    found(web.url.replace("://", "://eva:비밀@") + "/a.csv", tmp_path)
    assert web.asked[0][1]["Authorization"] == "Basic " + b64encode("eva:비밀".encode()).decode()
