"""Lines of a text file with their numbers, a limit on their length, and a way to put lines back."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TextIO

_ENDS = ("\n", "\r")


class LineTooLong(Exception):
    """A line beyond the limit; it has been passed over.

    Attributes:
        line: Its number.
    """

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class Lines:
    """Numbered lines of a stream, in memory one at a time.

    Args:
        stream: Opened with ``newline=""``, so that lines keep their ends.
        limit: Characters a line may have; a longer one raises `LineTooLong` once and is passed over.

    Attributes:
        number: Number of the next line, from 1.
    """

    def __init__(self, stream: TextIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._waiting: deque[str | None] = deque()  # None stands for a line that was too long
        self.number = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._read()
        if line == "":
            raise StopIteration
        self.number += 1
        if line is None:
            raise LineTooLong(self.number - 1)
        return line

    def _read(self) -> str | None:
        line = self._stream.readline(self._limit + 1)
        if len(line) <= self._limit or line.endswith(_ENDS):
            return line
        while (part := self._stream.readline(self._limit)) and not part.endswith(_ENDS):
            pass
        return None

    def put_back(self, lines: Sequence[str | None]) -> None:
        """Make ``lines`` the next ones again; they must be the last ones read, in their order, None if too long."""
        self._waiting.extendleft(reversed(lines))
        self.number -= len(lines)

    def head(self, count: int) -> list[str]:
        """At most ``count`` of the next lines, which stay the next lines."""
        while len(self._waiting) < count:
            line = self._read()
            if line == "":
                break
            self._waiting.append(line)
        return [line for line in list(self._waiting)[:count] if line is not None]
