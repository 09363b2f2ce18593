"""Object storage behind one small interface: a local folder (``file://``) or S3 and MinIO (``s3://``)."""

import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings


class ObjectStore(Protocol):
    """Copies whole folders in and out of storage; a URI names a prefix."""

    def upload(self, folder: Path, uri: str) -> None:
        """Store every file under ``folder`` below ``uri``. Raises FlywheelError when storage refuses."""

    def download(self, uri: str, folder: Path) -> None:
        """Fetch everything below ``uri`` into ``folder``. Raises FlywheelError when nothing is there."""

    def exists(self, uri: str) -> bool:
        """Whether anything is stored below ``uri``."""


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
        """Copy ``folder``; a reader never sees half of it."""
        target = local_path(uri)
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)

    def download(self, uri: str, folder: Path) -> None:
        """Copy the stored folder to ``folder``."""
        if not self.exists(uri):
            raise FlywheelError("nothing is stored there", where=uri, reason="missing")
        shutil.copytree(local_path(uri), folder, dirs_exist_ok=True)

    def exists(self, uri: str) -> bool:
        """Whether the folder is there."""
        return local_path(uri).exists()


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
        self._endpoint = endpoint.geturl()
        self._client = Minio(
            endpoint.netloc or endpoint.path,
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
        """Get every object below the prefix."""
        bucket, prefix = _split(uri)
        with _explained(uri, self._endpoint):
            names = self._names(bucket, prefix)
            if not names:
                raise FlywheelError("nothing is stored there", where=uri, reason="missing")
            for name in names:
                self._client.fget_object(bucket, name, str(folder / name.removeprefix(prefix)))

    def exists(self, uri: str) -> bool:
        """Whether the prefix holds an object."""
        bucket, prefix = _split(uri)
        with _explained(uri, self._endpoint):
            return self._client.bucket_exists(bucket) and bool(self._names(bucket, prefix))

    def _names(self, bucket: str, prefix: str) -> list[str]:
        objects = self._client.list_objects(bucket, prefix, recursive=True)
        return [item.object_name for item in objects if item.object_name]


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
