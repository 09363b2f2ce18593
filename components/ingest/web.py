"""Fetch a file over https:// to disk, going on where a dropped connection stopped (RFC 9110, Range and If-Range)."""

import ipaddress
import logging
import mimetypes
import re
import shutil
import time
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, SSLError

from llm_flywheel.components.common.errors import FlywheelError, first_line
from llm_flywheel.components.common.progress import Progress

logger = logging.getLogger(__name__)

_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_REDIRECTS = 10
# Failures one after another without a byte gained.
_TRIES = 5
_LONGEST_PAUSE_S = 30.0
_CHUNK = 1 << 18
_TRANSIENT = (408, 416, 425, 429, 500, 502, 503, 504)
_ENCODINGS = {"": "", "identity": "", "gzip": ".gz", "x-gzip": ".gz", "zstd": ".zst"}
_TYPES = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-parquet": ".parquet",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
_SECRET = re.compile(r"(?i)sig|token|key|secret|pass|pwd|cred|auth|session|policy")
_SHOWN_VALUE = 24
_FIXES = {401: "the address needs credentials", 403: "the credentials do not allow it", 404: "check the address"}


class Fetched(NamedTuple):
    """A file from the web.

    Attributes:
        path: Where it is.
        names: What it may be called, by its address, by the server and by its type, in this order.
        content_type: What the server says it is.
    """

    path: Path
    names: list[str]
    content_type: str


class _Dropped(Exception):
    """The connection or the server failed in a way that may pass."""


def without_secrets(url: str) -> str:
    """A URL fit to be shown: no user, no password, and no query values that look like a signature or a token."""
    if not url.startswith(("https://", "http://")):
        return url
    head, mark, query = url.partition("?")
    scheme, _, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    if "@" not in host and "@" in path and ":" in host and not host.rpartition(":")[2].isdigit():
        host, slash, path = rest.rpartition("@")[2].partition("/")  # a password that holds a slash
    shown = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    pairs = [pair.partition("=") for pair in query.partition("#")[0].split("&")]
    hidden = [
        f"{key}=***" if value and (_SECRET.search(key) or len(value) > _SHOWN_VALUE) else f"{key}{equals}{value}"
        for key, equals, value in pairs
    ]
    return shown + mark + "&".join(hidden)


def fetch(url: str, folder: Path, max_bytes: int, pause_s: float = 1.0) -> Fetched:
    """Fetch one file; a dropped connection costs a pause and what is missing is asked for.

    A file that the server packs on the way (Content-Encoding) stays packed and gets the suffix of its archive.

    Args:
        url: Of ``https://``, or ``http://`` on this machine; its user and password become basic authentication.
        folder: Where to put it; made when missing.
        max_bytes: Size it may have.
        pause_s: Pause before the first new try; the following ones double.

    Raises:
        FlywheelError: With the status, when the server refuses; or what else is in the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    download = _Download(url, folder / "download.partial", max_bytes)
    failures = most = 0
    while True:
        try:
            return download.go_on()
        except _Dropped as error:
            got = download.size()
            failures, most = (0, got) if got > most else (failures + 1, most)
            if failures >= _TRIES:
                raise FlywheelError(f"{error}, {_TRIES} times in a row", reason="unreachable") from None
            logger.warning("%s: %s; going on at byte %d", without_secrets(url), error, got)
            time.sleep(min(_LONGEST_PAUSE_S, pause_s * 2**failures))
        except OSError as error:
            raise FlywheelError(
                f"cannot be stored in {folder}: {error.strerror or error}",
                fix="make room, or set TMPDIR to a folder with more",
                reason="disk",
            ) from None


@dataclass
class _Download:
    url: str
    partial: Path
    max_bytes: int
    validator: str = field(default="", init=False)

    def size(self) -> int:
        """Bytes that need not be fetched again."""
        return self.partial.stat().st_size if self.validator and self.partial.exists() else 0

    def go_on(self) -> Fetched:
        start = self.size()
        headers = {"Range": f"bytes={start}-", "If-Range": self.validator} if start else {}
        try:
            answer = _answer(self.url, headers)
            try:
                return self._store(answer, start)
            finally:
                answer.close()
        except (SSLError, NameResolutionError) as error:
            raise FlywheelError(f"no connection: {first_line(error)}", reason="unreachable") from None
        except HTTPError as error:
            raise _Dropped(f"the connection failed ({type(error).__name__})") from None

    def _store(self, answer: urllib3.BaseHTTPResponse, start: int) -> Fetched:
        status, headers = answer.status, answer.headers
        if status in _TRANSIENT:
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.validator = ""  # the file changed; from the start
            raise _Dropped(f"the server answered {status} {answer.reason}")
        if status not in (200, 206):
            raise FlywheelError(
                f"the server answered {status} {answer.reason}", fix=_FIXES.get(status, ""), reason="status"
            )
        if status == 200:
            start = 0
        elif not headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            self.validator = ""
            raise _Dropped("the server answered another range than asked for")
        content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        packed = _ENCODINGS.get(headers.get("Content-Encoding", "").strip().lower())
        if content_type == "text/html":
            raise FlywheelError(
                "the server answered with a web page, not with data", fix="use the download address", reason="kind"
            )
        if packed is None:
            raise FlywheelError(f"unknown Content-Encoding {headers['Content-Encoding'][:40]!r}", reason="encoding")
        etag = headers.get("ETag", "")
        # A weak ETag does not promise equal bytes (RFC 9110, section 13.1.5).
        self.validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
        self._receive(answer, start)
        return Fetched(self.partial, [_packed(name, packed) for name in _names(self.url, headers)], content_type)

    def _receive(self, answer: urllib3.BaseHTTPResponse, start: int) -> None:
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else 0
        self._check_size(total)
        if total - start > (free := shutil.disk_usage(self.partial.parent).free):
            raise OSError(f"{_gigabytes(total)} to fetch, {_gigabytes(free)} free")
        done = start
        with (
            self.partial.open("ab" if start else "wb") as file,
            Progress(f"fetching {without_secrets(self.url)}", total or self.max_bytes) as progress,
        ):
            while data := answer.read(_CHUNK):
                file.write(data)
                done += len(data)
                self._check_size(done)
                progress.update(done, _gigabytes(done))

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise FlywheelError(
                f"larger than {_gigabytes(self.max_bytes)}", fix="raise ingest.max_download_gb", reason="too_large"
            )


def _answer(url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    """The answer at the end of all redirects."""
    origin = _parsed(url)
    for _ in range(_REDIRECTS + 1):
        target = _parsed(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": "llm-flywheel", **headers}
        if origin.username and (target.scheme, target.hostname, target.port) == (
            origin.scheme,
            origin.hostname,
            origin.port,
        ):
            user = f"{unquote(origin.username)}:{unquote(origin.password or '')}"
            sent["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"  # UTF-8: RFC 7617, section 2.1
        bare = target._replace(netloc=target.netloc.rpartition("@")[2], fragment="").geturl()
        answer = _pool(target).request(
            "GET",
            bare,
            headers=sent,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=_TIMEOUT,
        )
        location = answer.get_redirect_location()
        if not location:
            return answer
        answer.close()
        url = urljoin(bare, location)
    raise FlywheelError(f"more than {_REDIRECTS} redirects", reason="redirects")


def _parsed(url: str) -> SplitResult:
    """The parts of an address; what is not encrypted on its way over a network is refused."""
    try:
        parsed = urlsplit(url)
        host, _ = parsed.hostname or "", parsed.port
    except ValueError:
        raise FlywheelError("no web address; write %2F for a slash in a password", reason="address") from None
    if not host or not (parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(host))):
        raise FlywheelError(
            f"leads to {parsed.scheme}://{host}; only https:// is fetched, and http:// from this machine",
            reason="address",
        )
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pool(url: SplitResult) -> urllib3.PoolManager:
    host = url.hostname or ""
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not _is_loopback(host) and not urllib.request.proxy_bypass(host):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _names(url: str, headers: Mapping[str, str]) -> list[str]:
    message = Message()
    for key in ("Content-Disposition", "Content-Type"):
        if headers.get(key):
            message[key] = headers[key]
    kind = message.get_content_type() if "Content-Type" in message else ""
    suffix = _TYPES.get(kind) or mimetypes.guess_extension(kind) or ""
    names = [unquote(urlsplit(url).path), message.get_filename() or "", f"data{suffix}"]
    return [base for name in names if (base := re.split(r"[/\\]", name)[-1].replace("\0", ""))]


def _packed(name: str, suffix: str) -> str:
    # Many servers call a .gz file as such gzip-encoded, and mean one compression, not two.
    return name if name.lower().endswith(suffix) else name + suffix


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 10**8 else f"{size / 1e6:,.1f} MB"
