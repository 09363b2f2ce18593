"""Which files a list of paths means; everything that is wrong with them is said at once, before any is read."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlparse

from llm_flywheel.components.common.config import UNSUPPORTED_ADDRESS
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import local_path, store_for

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
        name: What rows and reports call it: the path as the user gave it, or its URI.
        kind: How its bytes are laid out.
        split: ``test`` for held-out files, else empty.
    """

    path: Path
    name: str
    kind: FileKind
    split: str = ""

    @property
    def identity(self) -> str:
        """The same for the same file, however often and under whatever name it was fetched or found."""
        return self.name if self.name.startswith("s3://") else str(self.path.resolve())


@dataclass
class Sources:
    """All files of a run, held-out ones last, and the files of named folders that no reader knows."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def find_files(paths: Sequence[str], holdout_paths: Sequence[str], scratch: Path) -> Sources:
    """Expand files, folders, globs, URIs and samples into files; a file that is named twice is read once.

    A file that both lists name is held out.

    Args:
        paths: For training and validation.
        holdout_paths: For the test split.
        scratch: An empty folder for generated samples and for what is fetched from object storage.

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
    held_out = {file.identity for file in holdout.files}
    files = [file for file in train.files if file.identity not in held_out] + holdout.files
    if not any(file.split == "" for file in files):
        raise FlywheelError("every file is held out; nothing is left to train on", where="ingest.paths", reason="empty")
    return Sources(files, sorted({*train.ignored, *holdout.ignored}))


def _expand(paths: Sequence[str], scratch: Path, split: str, problems: list[str]) -> Sources:
    found = Sources()
    seen: set[str] = set()
    for number, text in enumerate(paths):
        scheme, separator, _ = text.partition("://")
        if scheme == "sample":
            candidates = _sample_files(text, scratch / str(number), problems)
        elif scheme == "s3":
            candidates = _fetched_files(text, scratch / str(number), found.ignored, problems)
        elif scheme == "file":
            candidates = _file_uri_files(text, found.ignored, problems)
        elif separator:
            problems.append(f"{text}: {UNSUPPORTED_ADDRESS}")
            continue
        else:
            candidates = _disk_files(text, found.ignored, problems)
        for path, name in candidates:
            file = SourceFile(path, name, KINDS[path.suffix.lower()], split)
            if file.identity not in seen:
                seen.add(file.identity)
                found.files.append(file)
    return found


def _disk_files(text: str, ignored: list[str], problems: list[str]) -> list[tuple[Path, str]]:
    path = Path(text).expanduser()
    if path.is_dir():
        files = _files_in(path)
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
    return _usable(text, [(item, str(item)) for item in files], ignored, problems)


def _fetched_files(uri: str, folder: Path, ignored: list[str], problems: list[str]) -> list[tuple[Path, str]]:
    try:
        store_for(uri, Settings.from_env()).download(uri, folder)
    except FlywheelError as error:
        problems.append(f"{uri}: {error.what}{f' ({error.fix})' if error.fix else ''}")
        return []
    return _usable(uri, _named_by(uri, folder, _files_in(folder)), ignored, problems)


def _file_uri_files(uri: str, ignored: list[str], problems: list[str]) -> list[tuple[Path, str]]:
    # Read in place, without a copy: the same file may be named by its path, too.
    path = local_path(uri)
    if urlparse(uri).netloc not in ("", "localhost"):
        problems.append(f"{uri}: write file:///absolute/path")
        return []
    if not path.exists():
        problems.append(f"{uri}: no such file or folder")
        return []
    root, files = (path, _files_in(path)) if path.is_dir() else (path.parent, [path])
    return _usable(uri, _named_by(uri, root, files), ignored, problems)


def _named_by(uri: str, root: Path, files: Sequence[Path]) -> list[tuple[Path, str]]:
    """Each file with the URI and its path below ``root``; the URI alone when it names the file itself."""
    address = uri.rstrip("/")
    own = address.rpartition("/")[2]
    relative = [item.relative_to(root).as_posix() for item in files]
    if [unquote(own)] == relative or [own] == relative:
        return [(files[0], address)]
    return [(item, f"{address}/{name}") for item, name in zip(files, relative, strict=True)]


def _files_in(folder: Path) -> list[Path]:
    return sorted(item for item in folder.rglob("*") if item.is_file() and not _hidden(item.relative_to(folder)))


def _usable(
    text: str, files: Sequence[tuple[Path, str]], ignored: list[str], problems: list[str]
) -> list[tuple[Path, str]]:
    usable = [(path, name) for path, name in files if path.suffix.lower() in KINDS]
    ignored += [name for path, name in files if path.suffix.lower() not in KINDS]
    if not usable:
        problems.append(f"{text}: holds no file of a known kind ({_SUPPORTED})")
    problems += [f"{name}: no permission to read it" for path, name in usable if not os.access(path, os.R_OK)]
    return usable


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sample_files(uri: str, folder: Path, problems: list[str]) -> list[tuple[Path, str]]:
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
