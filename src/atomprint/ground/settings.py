"""The base of every settings model: strict, frozen, and helpful about unknown keys."""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from atomprint.ground.errors import UsageError

T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """Settings of one part; unknown keys are errors, values never change after validation.

    Default, type, help (``Field(description=...)``) and documentation of a setting stand in
    one place: beside the code that they set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def validate(model: type[T], values: dict[str, Any], where: str) -> T:
    """Build settings from plain values, turning a failure into one clear sentence.

    Parameters
    ----------
    model
        The settings class.
    values
        Plain values, as read from YAML or JSON.
    where
        What the values came from (a file name), for the error.

    Raises
    ------
    UsageError
        With the field, what is wrong with it, and the nearest known key if it is unknown.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            known = _keys_at(model, path[:-1])
            close = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            raise UsageError(f"{where}: unknown setting {'.'.join(path)!r}; {hint}") from None
        if first["type"] == "union_tag_not_found":
            kinds = _kinds_at(model, path)
            raise UsageError(
                f"{where}: setting {'.'.join(path)!r} needs a kind; "
                f"add kind: {' or kind: '.join(kinds)}"
            ) from None
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UsageError(f"{where}: setting {'.'.join(path)!r}: {first['msg']}{more}") from None


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Known keys of the settings reached by ``path``; all nested keys where it is a union."""
    candidates: list[type[BaseModel]] = [model]
    for part in path:
        deeper: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(part)
            if field is not None:
                deeper += _models_in(field.annotation)
        tagged = [
            m
            for m in candidates
            if "kind" in m.model_fields and m.model_fields["kind"].default == part
        ]
        candidates = deeper or tagged or candidates
    return sorted({key for candidate in candidates for key in candidate.model_fields})


def _kinds_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the kinds to choose from at a union of settings."""
    *parents, name = [part for part in path if not part.isdigit()]
    candidates: list[type[BaseModel]] = [model]
    for part in parents:
        fields = [c.model_fields[part] for c in candidates if part in c.model_fields]
        candidates = [m for field in fields for m in _models_in(field.annotation)]
    found = [c.model_fields[name] for c in candidates if name in c.model_fields]
    members = [m for field in found for m in _models_in(field.annotation)]
    return sorted(str(m.model_fields["kind"].default) for m in members if "kind" in m.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every settings model that an annotation mentions, through unions, lists and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for argument in getattr(annotation, "__args__", ()):
        found += _models_in(argument)
    return found
