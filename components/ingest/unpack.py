"""The bytes of a file, unpacked on the way when its name ends in .gz or .zst."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

PACKED = (".gz", ".zst")

_BUFFER = 1 << 18
# What a failed read had already unpacked is lost with it, so reads of zstd are small.
_ZSTD_READ = 1 << 14
# No table or text packs this well; DEFLATE ends at 1,032 to 1, Zstandard far beyond.
_BOMB_RATIO = 1_000
_BOMB_BYTES = 1 << 30


class Unpacked(io.RawIOBase):
    """A readable stream that ends, without an exception, where its archive is damaged.

    Attributes:
        damage: What is wrong with the archive; empty while nothing is.
        ends_a_line: Whether the last byte read was a line feed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._stream: Any = None
        suffix = path.suffix.lower()
        if suffix == ".gz":
            self._stream = gzip.GzipFile(fileobj=self._file)
        elif suffix == ".zst":
            import pyarrow as pa

            self._stream = pa.CompressedInputStream(self._file, "zstd")
        self._read = self._stream.read1 if suffix == ".gz" else lambda size: self._stream.read(min(size, _ZSTD_READ))
        self._unpacked = 0
        self.damage = ""
        self.ends_a_line = False

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what comes next; 0 at the end, or at the damage."""
        if self._stream is None:
            return self._file.readinto(buffer) or 0
        if self.damage:
            return 0
        try:
            data = self._read(len(buffer))
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the disk's fault, not the archive's
            self.damage = "the compressed data is cut off or damaged"
            return 0
        self._unpacked += len(data)
        if self._unpacked > _BOMB_BYTES and self._unpacked > _BOMB_RATIO * self._file.tell():
            self.damage = f"the compressed data grows more than {_BOMB_RATIO:,} times"
            return 0
        if data:
            self.ends_a_line = data.endswith(b"\n")
        buffer[: len(data)] = data
        return len(data)

    def position(self) -> int:
        """Bytes of the file itself that have been read."""
        return 0 if self._file.closed else self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class _Buffered(io.BufferedReader):
    def read1(self, size: int = -1, /) -> bytes:
        # TextIOWrapper asks for 8 KiB at a time.
        return super().read1(max(size, _BUFFER))


def buffered(stream: Unpacked) -> io.BufferedReader:
    """The stream with a buffer."""
    return _Buffered(stream, _BUFFER)
