"""Object storage behind one small interface: a local folder (``file://``) or S3 and MinIO (``s3://``)."""

import contextlib
import errno
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from llm_flywheel.components.common.errors import FlywheelError, without_password
from llm_flywheel.components.common.settings import Settings


class ObjectStore(Protocol):
    """Copies whole folders in and out of storage; a URI names a folder (a prefix), or one file to fetch."""

    def upload(self, folder: Path, uri: str) -> None:
        """Store every file under ``folder`` below ``uri``. Raises FlywheelError when storage refuses."""

    def download(self, uri: str, folder: Path) -> None:
        """Fetch what is stored at or below ``uri`` into ``folder``. Raises FlywheelError when nothing is there."""

    def exists(self, uri: str) -> bool:
        """Whether anything is stored at or below ``uri``."""


def store_for(uri: str, settings: Settings) -> ObjectStore:
    """The store that serves ``uri``.

    Raises:
        FlywheelError: The scheme is not supported, or S3 credentials are missing.
    """
    scheme = urlparse(uri).scheme
    if scheme == "file":
        return FileStore()
    if scheme == "s3":
        return S3Store(settings)
    raise FlywheelError(
        f"unsupported storage scheme {scheme!r}", where=uri, fix="use file:// or s3://", reason="scheme"
    )


def files_under(folder: Path) -> list[Path]:
    """All files below ``folder``, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def local_path(uri: str) -> Path:
    """The path a ``file://`` URI names."""
    return Path(unquote(urlparse(uri).path))


class FileStore:
    """A folder of this machine."""

    def upload(self, folder: Path, uri: str) -> None:
        """Copy ``folder``; a reader never sees half of it, and of several writers the last one wins."""
        target = local_path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            fresh = Path(scratch) / "new"
            shutil.copytree(folder, fresh)
            _put_in_place(fresh, target, Path(scratch))

    def download(self, uri: str, folder: Path) -> None:
        """Copy the stored folder to ``folder``, or the stored file into it."""
        stored = local_path(uri)
        if not stored.exists():
            raise FlywheelError("nothing is stored there", where=uri, reason="missing")
        if stored.is_dir():
            shutil.copytree(stored, folder, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(stored, folder / stored.name)

    def exists(self, uri: str) -> bool:
        """Whether the folder or file is there."""
        return local_path(uri).exists()


def _put_in_place(fresh: Path, target: Path, aside: Path) -> None:
    for number in itertools.count():
        with contextlib.suppress(FileNotFoundError):
            target.rename(aside / f"old-{number}")
        try:
            fresh.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another writer came between
                raise


class S3Store:
    """Any S3 server, through the ``minio`` client. Buckets are created when missing."""

    def __init__(self, settings: Settings) -> None:
        from minio import Minio

        if not (settings.s3_access_key and settings.s3_secret_key):
            raise FlywheelError(
                "no S3 credentials in the environment",
                fix="export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… (and AWS_ENDPOINT_URL for MinIO)",
                reason="credentials",
            )
        endpoint = urlparse(settings.s3_endpoint or "https://s3.amazonaws.com")
        if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
            raise FlywheelError(
                f"AWS_ENDPOINT_URL is no http:// or https:// address: {without_password(settings.s3_endpoint)!r}",
                fix="export AWS_ENDPOINT_URL=http://HOST:PORT",
                reason="endpoint",
            )
        self._endpoint = endpoint.geturl()
        self._client = Minio(
            endpoint.netloc,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
            region=settings.s3_region,
            secure=endpoint.scheme == "https",
        )

    def upload(self, folder: Path, uri: str) -> None:
        """Put every file; stale objects below the prefix are removed afterwards."""
        bucket, prefix = _split(uri)
        with _explained(uri, self._endpoint):
            if not self._client.bucket_exists(bucket):
                self._client.make_bucket(bucket)
            kept = set()
            for path in files_under(folder):
                key = f"{prefix}{path.relative_to(folder).as_posix()}"
                self._client.fput_object(bucket, key, str(path))
                kept.add(key)
            for name in self._names(bucket, prefix):
                if name not in kept:
                    self._client.remove_object(bucket, name)

    def download(self, uri: str, folder: Path) -> None:
        """Get every object below the prefix, or the one object of that name."""
        bucket, prefix = _split(uri)
        with _explained(uri, self._endpoint):
            found = {name: name.removeprefix(prefix) for name in self._names(bucket, prefix)}
            if not found and self._is_object(bucket, prefix):
                found = {prefix.rstrip("/"): prefix.rstrip("/").rpartition("/")[2]}
            if not found:
                raise FlywheelError("nothing is stored there", where=uri, reason="missing")
            for name, relative in found.items():
                self._client.fget_object(bucket, name, str(folder / relative))

    def exists(self, uri: str) -> bool:
        """Whether the prefix holds an object, or is one."""
        bucket, prefix = _split(uri)
        with _explained(uri, self._endpoint):
            if not self._client.bucket_exists(bucket):
                return False
            return bool(self._names(bucket, prefix)) or self._is_object(bucket, prefix)

    def _names(self, bucket: str, prefix: str) -> list[str]:
        objects = self._client.list_objects(bucket, prefix, recursive=True)
        # Consoles store an empty object called "folder/" for a folder.
        return [item.object_name for item in objects if item.object_name and not item.object_name.endswith("/")]

    def _is_object(self, bucket: str, prefix: str) -> bool:
        from minio.error import S3Error

        if not prefix:
            return False
        try:
            self._client.stat_object(bucket, prefix.rstrip("/"))
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise
        return True


def _split(uri: str) -> tuple[str, str]:
    parsed = urlparse(uri)
    prefix = parsed.path.strip("/")
    return parsed.netloc, f"{prefix}/" if prefix else ""


class _explained:
    """Turns the S3 client's exceptions into one message with the address and the server's reason."""

    def __init__(self, uri: str, endpoint: str) -> None:
        self._uri, self._endpoint = uri, endpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from minio.error import MinioException
        from urllib3.exceptions import HTTPError

        if isinstance(error, MinioException | HTTPError | ValueError):
            raise FlywheelError(
                f"object storage at {self._endpoint} refused: {error}",
                where=self._uri,
                fix="check AWS_ENDPOINT_URL, the credentials and the bucket name",
                reason="storage",
            ) from None
