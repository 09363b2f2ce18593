"""Which files a list of paths means; everything that is wrong with them is said at once, before any is read."""

import functools
import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlparse

from llm_flywheel.components.common.config import unsupported_address
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import local_path, store_for
from llm_flywheel.components.ingest.config import SOURCE_SCHEMES
from llm_flywheel.components.ingest.unpack import PACKED
from llm_flywheel.components.ingest.web import fetch, without_secrets

FileKind = Literal["csv", "tsv", "json", "jsonl", "parquet"]
Kind = Literal[FileKind, "text"]

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
_TEXTS = (".txt", ".md")
_SUPPORTED = f"{', '.join([*KINDS, *_TEXTS])}; all but Parquet also with {' or '.join(PACKED)}"
_SAMPLES = ("support-tickets",)
# What comes along with data and is none.
_NO_DATA = ("readme", "license", "licence", "notice", "changelog")

TEXT_COLUMN = "text"


@dataclass(frozen=True)
class SourceFile:
    """One file to read.

    Attributes:
        path: Where it is.
        name: What rows and reports call it: the path as the user gave it, or its URI without secrets.
        kind: How its bytes are laid out.
        split: ``test`` for held-out files, else empty.
        revision: Commit of the repository it was fetched from, or empty.
        address: The whole URI of a fetched file, which may hold a secret; empty for one of this machine.
    """

    path: Path
    name: str
    kind: Kind
    split: str = ""
    revision: str = ""
    address: str = field(default="", repr=False)

    @property
    def identity(self) -> str:
        """The same for the same file, however often and under whatever name it was fetched or found."""
        return self.address or str(self.path.resolve())


@dataclass
class Sources:
    """All files of a run, held-out ones last, and the files of named folders that are no data."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def kind_of(name: str) -> Kind | None:
    """How a file of this name is laid out; None when the suffix is not known."""
    path = Path(name.lower())
    packed = path.suffix in PACKED
    suffix = path.with_suffix("").suffix if packed else path.suffix
    if suffix in _TEXTS:
        return "text"
    kind = KINDS.get(suffix)
    return None if packed and kind == "parquet" else kind


def find_files(
    paths: Sequence[str],
    holdout_paths: Sequence[str],
    scratch: Path,
    max_download_bytes: int = 50 << 30,
    keys: str = "ingest.paths or ingest.holdout_paths",
) -> Sources:
    """Expand files, folders, globs, URIs and samples into files; a file that is named twice is read once.

    A file that both lists name is held out. Plain texts beside tables, those called README or LICENSE in a folder, and
    hidden files and folders in one are no data.

    Args:
        paths: For training and validation.
        holdout_paths: For the test split.
        scratch: An empty folder for generated samples and for what is fetched.
        max_download_bytes: Size that one file behind an https:// address may have.
        keys: Where the paths stand in the configuration, for the error message.

    Raises:
        FlywheelError: Paths that are missing, unreadable, empty folders or of an unknown kind: all of them at once.
    """
    problems: list[str] = []
    fetch = functools.partial(_locate, max_bytes=max_download_bytes)
    holdout = _expand(holdout_paths, "test", fetch, scratch / "holdout", problems)
    train = _expand(paths, "", fetch, scratch / "train", problems)
    if problems:
        raise FlywheelError(
            "\n  ".join(["cannot read all input paths", *problems]),
            fix=f"paths are relative to {Path.cwd()}; correct {keys}",
            reason="missing",
        )
    held_out = {file.identity for file in holdout.files}
    files = [file for file in train.files if file.identity not in held_out] + holdout.files
    if not any(file.split == "" for file in files):
        raise FlywheelError("every file is held out; nothing is left to train on", where="ingest.paths", reason="empty")
    read = {file.name for file in files}
    return Sources(files, sorted({*train.ignored, *holdout.ignored} - read))


@dataclass(frozen=True)
class _Located:
    """A file before its kind is known; the fields are those of `SourceFile`."""

    path: Path
    name: str
    revision: str = ""
    address: str = ""
    hidden: bool = False  # not named itself, but found in a folder


def _expand(
    paths: Sequence[str],
    split: str,
    locate: Callable[[str, Path], list[_Located]],
    scratch: Path,
    problems: list[str],
) -> Sources:
    result = Sources()
    seen: set[str] = set()
    for number, text in enumerate(paths):
        shown = without_secrets(text)
        try:
            located = locate(text, scratch / str(number))
        except FlywheelError as error:
            problems.append(f"{shown}: {error.what}{f' ({error.fix})' if error.fix else ''}")
            continue
        except (ValueError, RuntimeError, OSError) as error:
            problems.append(f"{shown}: not an address or path that can be read ({type(error).__name__})")
            continue
        files = _data_files(located, split, result.ignored)
        if not files:
            one = len(located) == 1 and not located[0].hidden
            what = "unknown kind of file; known are" if one else "holds no file of a known kind:"
            problems.append(f"{shown}: {what} {_SUPPORTED}")
        problems += [f"{file.name}: no permission to read it" for file in files if not os.access(file.path, os.R_OK)]
        result.files += [file for file in files if file.identity not in seen]
        seen.update(file.identity for file in files)
    return result


def _data_files(located: Sequence[_Located], split: str, ignored: list[str]) -> list[SourceFile]:
    kinds = [None if item.hidden else kind_of(item.path.name) for item in located]
    tables = any(kind not in (None, "text") for kind in kinds)
    files = []
    for item, kind in zip(located, kinds, strict=True):
        beside = kind == "text" and len(located) > 1 and (tables or item.path.stem.lower() in _NO_DATA)
        if kind is None or beside or (tables and item.path.name == "manifest.json"):
            if not (kind is None and item.path.name.startswith("_")):  # _SUCCESS and other markers of Spark's
                ignored.append(item.name)
        else:
            files.append(SourceFile(item.path, item.name, kind, split, item.revision, item.address))
    return files


def _locate(text: str, scratch: Path, max_bytes: int) -> list[_Located]:
    scheme, separator, _ = text.partition("://")
    if not separator:
        return _on_disk(text)
    if scheme == "file":
        return _at_file_uri(text)
    if scheme == "sample":
        return _sample(text, scratch)
    if scheme == "s3":
        store_for(text, Settings.from_env()).download(text, scratch)
        return [replace(item, address=item.name) for item in _named_by(text, scratch, _files_in(scratch))]
    if scheme in ("https", "http"):
        return [_from_web(text, scratch, max_bytes)]
    if scheme == "hf":
        return _from_hub(text)
    raise FlywheelError(unsupported_address(SOURCE_SCHEMES), reason="scheme")


def _on_disk(text: str) -> list[_Located]:
    path = Path(text).expanduser()
    if path.is_dir():
        return [_Located(item, str(item), hidden=_is_hidden(item)) for item in _files_in(path)]
    if path.exists():
        files = [path]
    else:
        magic = glob.has_magic(str(path))
        files = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))] if magic else []
        files = [item for item in files if item.is_file()]
        if not files:
            raise FlywheelError("no file matches" if magic else "no such file or folder", reason="missing")
    return [_Located(item, str(item)) for item in files]


def _at_file_uri(uri: str) -> list[_Located]:
    # Read in place, without a copy: the same file may be named by its path, too.
    path = local_path(uri)
    if urlparse(uri).netloc not in ("", "localhost"):
        raise FlywheelError("write file:///absolute/path", reason="address")
    if not path.exists():
        raise FlywheelError("no such file or folder", reason="missing")
    root, files = (path, _files_in(path)) if path.is_dir() else (path.parent, [path])
    return _named_by(uri, root, files)


def _from_web(url: str, scratch: Path, max_bytes: int) -> _Located:
    fetched = fetch(url, scratch, max_bytes)
    name = next((name for name in fetched.names if kind_of(name)), "")
    if not name:
        raise FlywheelError(
            f"neither the address nor the server's answer ({fetched.content_type or 'no Content-Type'}) tells a known "
            f"kind of file: {_SUPPORTED}",
            reason="kind",
        )
    path = fetched.path.rename(scratch / f"data{name[-16:]}")  # no name is too long for the disk
    return _Located(path, without_secrets(url), address=url)


def _from_hub(uri: str) -> list[_Located]:
    from llm_flywheel.components.ingest.hub import fetch_dataset

    wanted = [f"*{suffix}{packed}" for suffix in (*KINDS, *_TEXTS) for packed in ("", *PACKED)]
    snapshot = fetch_dataset(uri, wanted)
    return [
        _Located(snapshot.folder / name, f"{snapshot.address}/{name}", snapshot.commit, f"{snapshot.address}/{name}")
        for name in snapshot.files
    ]


def _named_by(uri: str, root: Path, files: Sequence[Path]) -> list[_Located]:
    """Each file with the URI and its path below ``root``; the URI alone when it names the file itself."""
    address = uri.rstrip("/")
    own = address.rpartition("/")[2]
    relative = [item.relative_to(root).as_posix() for item in files]
    if [unquote(own)] == relative or [own] == relative:
        return [_Located(files[0], address)]
    return [
        _Located(item, f"{address}/{name}", hidden=_is_hidden(item)) for item, name in zip(files, relative, strict=True)
    ]


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder and all below it, also behind links, and of hidden ones those that may be data.

    Hidden folders, such as .git and .ipynb_checkpoints, and what macOS puts beside every file (._name) are passed over.
    """
    found: list[Path] = []
    walked: set[str] = set()
    unreadable: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=unreadable.append, followlinks=True):
        real = os.path.realpath(here)
        if real in walked:  # a link that leads back, or another one to the same place
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "lost+found")
        found += [Path(here, name) for name in names if not name.startswith(".") or _may_be_data(name)]
    if unreadable:
        told = ", ".join(f"{error.filename} ({error.strerror})" for error in unreadable)
        raise FlywheelError(f"folders that cannot be listed: {told}", reason="unreadable")
    lost = sorted(str(item) for item in found if not item.exists() and kind_of(item.name))
    if lost:
        raise FlywheelError(f"links to files that are not there: {', '.join(lost[:5])}", reason="missing")
    return sorted(item for item in found if item.is_file())


def _may_be_data(hidden: str) -> bool:
    return kind_of(hidden) is not None and not hidden.startswith("._")


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _sample(uri: str, folder: Path) -> list[_Located]:
    parsed = urlparse(uri)
    options = {"rows": 3000, "seed": 0}
    if parsed.netloc not in _SAMPLES:
        raise FlywheelError(f"no such sample; there is {', '.join(_SAMPLES)}", reason="missing")
    for key, value in parse_qsl(parsed.query, keep_blank_values=True):
        if key not in options or not value.isascii() or not value.isdecimal() or len(value) > 9:
            raise FlywheelError(f"{key}={value} is not one of rows=NUMBER, seed=NUMBER", reason="address")
        options[key] = int(value)
    from llm_flywheel.components.ingest.sample import write_support_tickets

    folder.mkdir(parents=True)
    files = write_support_tickets(folder, seed=options["seed"], rows=options["rows"])
    return [_Located(path, f"sample://{parsed.netloc}/{path.relative_to(folder).as_posix()}") for path in files]
