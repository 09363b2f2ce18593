"""Files that another process may be reading, and files that nobody else may."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Write a JSON file, making its folder when needed; a reader never sees half of it.

    Args:
        path: File to make or to replace.
        value: What it holds.
        default: What to do with values that JSON does not know; they are an error when not given.

    Raises:
        TypeError: JSON does not know a value; an older file stays as it was.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, default=default) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
