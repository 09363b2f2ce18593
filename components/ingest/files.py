"""Which files a list of paths means; everything that is wrong with them is said at once, before any is read."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlparse

from llm_flywheel.components.common.errors import FlywheelError

FileKind = Literal["csv", "tsv", "json", "jsonl", "parquet"]

KINDS: dict[str, FileKind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_SUPPORTED = ", ".join(KINDS)
_SAMPLES = ("support-tickets",)


@dataclass(frozen=True)
class SourceFile:
    """One file to read.

    Attributes:
        path: Where it is.
        name: What rows and reports call it: the path as the user gave it.
        kind: How its bytes are laid out.
        split: ``test`` for held-out files, else empty.
    """

    path: Path
    name: str
    kind: FileKind
    split: str = ""


@dataclass
class Sources:
    """All files of a run, held-out ones last, and the files of named folders that no reader knows."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def find_files(paths: Sequence[str], holdout_paths: Sequence[str], scratch: Path) -> Sources:
    """Expand files, folders, globs and samples into files; a file that is named twice is read once.

    A file that both lists name is held out.

    Args:
        paths: For training and validation.
        holdout_paths: For the test split.
        scratch: An empty folder for generated samples.

    Raises:
        FlywheelError: Paths that are missing, unreadable, empty folders or of an unknown kind: all of them at once.
    """
    problems: list[str] = []
    holdout = _expand(holdout_paths, scratch / "holdout", "test", problems)
    train = _expand(paths, scratch / "train", "", problems)
    if problems:
        raise FlywheelError(
            "\n  ".join(["cannot read all input paths", *problems]),
            fix=f"paths are relative to {Path.cwd()}; correct ingest.paths or ingest.holdout_paths",
            reason="missing",
        )
    held_out = {file.path.resolve() for file in holdout.files}
    files = [file for file in train.files if file.path.resolve() not in held_out] + holdout.files
    if not any(file.split == "" for file in files):
        raise FlywheelError("every file is held out; nothing is left to train on", where="ingest.paths", reason="empty")
    return Sources(files, sorted({*train.ignored, *holdout.ignored}))


def _expand(paths: Sequence[str], scratch: Path, split: str, problems: list[str]) -> Sources:
    found = Sources()
    seen: set[Path] = set()
    for number, text in enumerate(paths):
        if text.startswith("sample://"):
            candidates = _sample_files(text, scratch / str(number), problems)
        else:
            candidates = _disk_files(text, found.ignored, problems)
        for path, name in candidates:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found.files.append(SourceFile(path, name, KINDS[path.suffix.lower()], split))
    return found


def _disk_files(text: str, ignored: list[str], problems: list[str]) -> list[tuple[Path, str]]:
    if "://" in text:
        problems.append(f"{text}: this kind of address is not supported; copy the files to a folder")
        return []
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and not _hidden(item.relative_to(path)))
    elif path.exists():
        if path.suffix.lower() not in KINDS:
            problems.append(f"{text}: unknown kind of file; supported are {_SUPPORTED}")
            return []
        files = [path]
    else:
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else []
        files = [Path(match) for match in matches if Path(match).is_file()]
        if not files:
            problems.append(f"{text}: {'no file matches' if glob.has_magic(str(path)) else 'no such file or folder'}")
            return []
    usable = [item for item in files if item.suffix.lower() in KINDS]
    ignored += [str(item) for item in files if item.suffix.lower() not in KINDS]
    if not usable:
        problems.append(f"{text}: holds no file of a known kind ({_SUPPORTED})")
    problems += [f"{item}: no permission to read it" for item in usable if not os.access(item, os.R_OK)]
    return [(item, str(item)) for item in usable]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sample_files(uri: str, folder: Path, problems: list[str]) -> Iterable[tuple[Path, str]]:
    parsed = urlparse(uri)
    options = {"rows": 3000, "seed": 0}
    if parsed.netloc not in _SAMPLES:
        problems.append(f"{uri}: no such sample; there is {', '.join(_SAMPLES)}")
        return []
    for key, value in parse_qsl(parsed.query, keep_blank_values=True):
        if key not in options or not value.isascii() or not value.isdecimal() or len(value) > 9:
            problems.append(f"{uri}: {key}={value} is not one of rows=NUMBER, seed=NUMBER")
            return []
        options[key] = int(value)
    from llm_flywheel.components.ingest.sample import write_support_tickets

    folder.mkdir(parents=True)
    files = write_support_tickets(folder, seed=options["seed"], rows=options["rows"])
    return [(path, f"sample://{parsed.netloc}/{path.relative_to(folder).as_posix()}") for path in files]
