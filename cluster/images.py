"""Container images without a registry: a static program in a docker archive."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_PASSWD = b"root:x:0:0:root:/:/none\nflywheel:x:1000:1000::/tmp:/none\nnonroot:x:65532:65532::/tmp:/none\n"


def program_image(archive: Path, name: str, files: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """Write an image that holds programs, ``/tmp`` and a passwd file, and nothing else.

    Args:
        archive: Where to write it.
        name: With its tag.
        files: Programs by their path in the image.
        entrypoint: What a container runs.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        folders = {str(parent) for path in ("/etc/passwd", *files) for parent in Path(path).parents} - {"/"}
        for folder in sorted(folders):
            tar.addfile(_entry(folder, 0o755, tarfile.DIRTYPE))
        tar.addfile(_entry("/tmp", 0o1777, tarfile.DIRTYPE))  # noqa: S108 - of the image
        _add(tar, "/etc/passwd", _PASSWD, 0o644)
        for path, source in files.items():
            _add(tar, path, source.read_bytes(), 0o755)
    blob = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": "65532", "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}"]},
    }
    raw = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        _add(tar, config_name, raw, 0o644)
        _add(tar, "layer.tar", blob, 0o644)
        _add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)


def _entry(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.type = mode, kind
    return entry


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = _entry(path, mode, tarfile.REGTYPE)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
