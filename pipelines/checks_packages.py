"""Checks of installed packages, from their metadata alone: nothing heavy is imported."""

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from llm_flywheel.pipelines.checks import Check

DISTRIBUTION = "llm-flywheel"
LOCK = Path(__file__).parent.parent / "requirements" / "lock.txt"


def requirements(lines: Iterable[str], extra: str) -> list[Requirement]:
    """What one extra needs, or the core for "".

    Args:
        lines: ``Requires-Dist`` values, such as ``kfp>=2.17; extra == "pipelines"``.
        extra: Name of the extra.
    """
    parsed = [Requirement(line) for line in lines]
    core = [item for item in parsed if not (item.marker and "extra" in str(item.marker))]
    if not extra:
        return [item for item in core if item.marker is None or item.marker.evaluate()]
    return [item for item in parsed if item not in core and item.marker and item.marker.evaluate({"extra": extra})]


def installed_version(name: str) -> str:
    """The version of an installed distribution, or ""."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def importable(name: str) -> bool:
    """Whether the modules that a distribution says it holds can be found (its ``top_level.txt``, if it has one)."""
    listed = metadata.distribution(name).read_text("top_level.txt") or ""
    modules = [module for module in listed.split() if module.isidentifier() and not module.startswith("_")]
    return all(importlib.util.find_spec(module) is not None for module in modules[:1])


def packages(
    extra: str,
    needed: Iterable[Requirement],
    version: Callable[[str], str] = installed_version,
    found: Callable[[str], bool] = importable,
) -> Check:
    """Every package of an extra is there, in a version that the extra allows."""
    name = f"packages: {extra or 'core'}"
    wrong, count = [], 0
    for item in needed:
        count += 1
        have = version(item.name)
        if not have:
            wrong.append(f"{item.name} is missing")
        elif not item.specifier.contains(have, prereleases=True):
            wrong.append(f"{item.name} {have} is not {item.specifier}")
        elif not found(item.name):
            wrong.append(f"{item.name} {have} cannot be imported")
    if wrong:
        install = f"make install (or pip install '{DISTRIBUTION}[{extra}]')" if extra else "make install"
        return Check(name, False, "; ".join(wrong), install)
    return Check(name, True, f"{count} installed")


def extra_packages(extra: str) -> Check:
    """`packages` for this project's own metadata."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return Check(f"packages: {extra or 'core'}", False, f"{DISTRIBUTION} is not installed", "make install")
    return packages(extra, requirements(lines, extra))


def read_lock(text: str) -> dict[str, str]:
    """Version by distribution name of a requirements file with ``name==version`` lines."""
    return {
        match[1].lower(): match[2] for match in re.finditer(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)", text, re.M)
    }


def drift(lock: Mapping[str, str], version: Callable[[str], str] = installed_version) -> Check:
    """Installed packages have the locked versions; what is not installed is another check's matter."""
    differing = [
        f"{name} {have} (locked {wanted})"
        for name, wanted in lock.items()
        if (have := version(name)) not in ("", wanted)
    ]
    if differing:
        shown = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
        return Check("locked versions", False, shown, "make install", required=False)
    return Check("locked versions", True, f"{len(lock)} locked", required=False)


def locked_versions(path: Path = LOCK) -> Check:
    """`drift` from the lock file of this checkout; a wheel has none."""
    if not path.exists():
        return Check("locked versions", True, "no lock file beside this installation", required=False)
    return drift(read_lock(path.read_text(encoding="utf-8")))
