"""Typed configuration: declared once as pydantic models, bound from YAML, checked in one go.

Every component has a ``config.py`` with one `Section`. All errors of a file are reported together, each with
the key as the user typed it, and unknown keys with the nearest known one.
"""

import difflib
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from llm_flywheel.components.common.errors import FlywheelError, without_password


class Section(BaseModel):
    """Base of every configuration section: unknown keys are errors, values are immutable.

    KFP sends integers inside a dict as floats (``3.0``); pydantic takes those back as integers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


INPUT_SCHEMES = ("s3", "file", "sample")


def unsupported_address(schemes: Sequence[str]) -> str:
    """What to say of an address of another scheme."""
    return (
        "this kind of address is not supported here; copy the files to a folder or to object storage "
        f"and give a path, {', '.join(f'{scheme}://' for scheme in schemes[:-1])} or {schemes[-1]}://"
    )


def readable_here(value: str, info: ValidationInfo, schemes: Sequence[str] = INPUT_SCHEMES) -> str:
    """The check of `InputPath`, also for other schemes."""
    scheme, separator, _ = value.partition("://")
    if separator:
        if scheme not in schemes:
            raise ValueError(f"{without_password(value)}: {unsupported_address(schemes)}")
        return value
    if (info.context or {}).get("check_files") and not glob.glob(value, recursive=True):
        raise ValueError(f"no such file or folder: {value}")
    return value


InputPath = Annotated[str, AfterValidator(readable_here)]
"""A path, a glob or a URI (`INPUT_SCHEMES`) of input data. ``bind(..., check_files=True)`` reports paths that do not
exist."""


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        FlywheelError: The file is missing, is not UTF-8 YAML, or is not a mapping.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlywheelError(
            "no such config file", where=str(path), fix="ls pipelines/configs", reason="missing"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FlywheelError(f"not a readable YAML file: {error}", where=str(path), reason="unreadable") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FlywheelError("a config file must hold a mapping of sections", where=str(path), reason="unreadable")
    return value


def apply_overrides(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of ``config`` with ``section.key=value`` settings applied; values are YAML.

    Raises:
        FlywheelError: An override is not of the form ``key=value`` or goes through a value that is no mapping.
    """
    result: dict[str, Any] = _copy(config)
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or not all(parts):
            raise FlywheelError("expected section.key=value", where=f"--set {override}", reason="override")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise FlywheelError("the value is not YAML", where=f"--set {override}", reason="override") from None
        node = result
        for part in parts[:-1]:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise FlywheelError(f"{part} is not a section", where=f"--set {override}", reason="override")
            node = child
        node[parts[-1]] = value
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def bind(model: type[S], values: Mapping[str, Any], *, where: str = "config", check_files: bool = False) -> S:
    """Turn a mapping into ``model``, or raise one error that lists everything that is wrong.

    Args:
        model: The section (or whole config) to bind to.
        values: Keys and values as the user wrote them.
        where: What to call the mapping in the message (a path or a component's name).
        check_files: Also report every `InputPath` that does not exist on this machine.

    Raises:
        FlywheelError: One line per wrong key, with what was found and what is allowed.
    """
    try:
        return model.model_validate(dict(values), context={"check_files": check_files})
    except ValidationError as error:
        lines = [_explain(model, item) for item in error.errors(include_url=False)]
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        raise FlywheelError(
            "\n  ".join([f"{count} in the configuration", *lines]), where=where, reason="config"
        ) from None


def _explain(model: type[BaseModel], item: Any) -> str:
    location = item["loc"]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{key}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{key}: required, but not given"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.replace("String should match pattern", "a text that matches")
    if item["type"] == "value_error":
        return f"{key}: {message}" if key else message
    found = item.get("input")
    return f"{key}: got {found!r} ({type(found).__name__}); expected {message}"


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names that are allowed at ``location``, following nested models through optionals, lists and dicts."""
    current: list[type[BaseModel]] = [model]
    for part in location:
        found: list[type[BaseModel]] = []
        for candidate in current:
            field = candidate.model_fields.get(str(part))
            if field is not None:
                found += _models_in(field.annotation)
            elif isinstance(part, int):
                found.append(candidate)
        current = found or current
    return [name for candidate in current for name in candidate.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
