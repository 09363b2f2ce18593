"""Fetch files of a data set on the Hugging Face Hub, or a server that speaks its API (HF_ENDPOINT), into its cache."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from llm_flywheel.components.common.errors import FlywheelError, first_line

# A revision is a branch, a tag or a commit; a slash in it is written %2F, except in the two kinds of ref that the
# Hub makes itself (huggingface_hub, HfFileSystem.resolve_path).
_ADDRESS = re.compile(
    r"hf://datasets/(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<path>.*))?"
)


class Snapshot(NamedTuple):
    """Files of one commit.

    Attributes:
        folder: Where they are.
        files: Their paths in it.
        address: URI of the data set as the user wrote it, without the path.
        commit: The commit's hash.
    """

    folder: Path
    files: list[str]
    address: str
    commit: str


def fetch_dataset(uri: str, patterns: Sequence[str]) -> Snapshot:
    """Fetch the files that an address means; those in the cache are not fetched again.

    Args:
        uri: ``hf://datasets/OWNER/NAME[@REVISION]/PATH``, with a file, a folder or a glob as the path.
        patterns: File names to fetch from a folder.

    Raises:
        FlywheelError: huggingface_hub is missing, or the Hub refuses or cannot be reached.
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        raise FlywheelError("write hf://datasets/OWNER/NAME[@REVISION]/PATH", reason="address")
    name, revision, path = match["name"], match["revision"], (match["path"] or "").strip("/")
    folder = _download(name, unquote(revision) if revision else None, _allowed(path, patterns))
    if not glob.has_magic(path):
        found = [folder / path] if (folder / path).is_file() else list((folder / path).rglob("*"))
    else:
        found = [Path(item) for item in glob.glob(f"{glob.escape(str(folder))}/{path}", recursive=True)]
    files = sorted(item.relative_to(folder).as_posix() for item in found if item.is_file())
    if not files:
        raise FlywheelError(f"no data file there at commit {folder.name[:12]}", reason="missing")
    return Snapshot(folder, files, f"hf://datasets/{name}{f'@{revision}' if revision else ''}", folder.name)


def _allowed(path: str, patterns: Sequence[str]) -> list[str]:
    """Patterns of fnmatch, whose * matches a slash, too; what is too much is left in the cache."""
    if glob.has_magic(path):
        return [path, path.replace("**/", "")]
    below = f"{path}/" if path else ""
    return [*([path] if path else []), *(below + pattern for pattern in patterns)]


def _download(name: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError:
        raise FlywheelError(
            "hf:// needs huggingface_hub", fix="pip install 'llm-flywheel[hf]'", reason="missing_package"
        ) from None
    import httpx

    address = f"{constants.ENDPOINT}/datasets/{name}"
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        what, fix = "the data set is gated", f"accept its terms at {address} and export HF_TOKEN=…"
    except errors.RepositoryNotFoundError:
        what, fix = f"no such data set at {address}, or a private one", "check the name, or export HF_TOKEN=…"
    except errors.RevisionNotFoundError:
        what, fix = f"no revision {revision!r} at {address}", "check what stands behind the @"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        what = f"{address} cannot be reached and the files are not in the cache"
        fix = "unset HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "check HF_ENDPOINT and the network"
    except (httpx.HTTPError, OSError, ValueError) as error:
        what, fix = f"{constants.ENDPOINT} refused: {first_line(error)}", ""
    raise FlywheelError(what, fix=fix, reason="hub")
