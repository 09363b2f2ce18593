"""Answers that are looked up again and again."""

from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(dict[Key, Value]):
    """The answers of a pure function by its argument: ``remembered[argument]``.

    A dict answers in a third of the time of `functools.lru_cache`; it is emptied when it is full.

    Args:
        function: Gives the answer to an argument that was not asked before.
        most: How many answers are kept.
    """

    def __init__(self, function: Callable[[Key], Value], most: int = 1 << 14) -> None:
        super().__init__()
        self._function, self._most = function, most

    def __missing__(self, argument: Key) -> Value:
        if len(self) >= self._most:
            self.clear()
        value = self[argument] = self._function(argument)
        return value
