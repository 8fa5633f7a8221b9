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

    # Infinity is no setting: nothing is that long, that often or that strong.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


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
        loc = [str(part) for part in first["loc"]]
        path = ".".join(_reached(model, loc)[1])
        if first["type"] == "extra_forbidden":
            models, _ = _reached(model, loc[:-1])
            known = sorted({key for reached in models for key in reached.model_fields})
            close = difflib.get_close_matches(loc[-1], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            raise UsageError(f"{where}: unknown setting {path!r}; {hint}") from None
        if first["type"] == "union_tag_not_found":
            kinds = sorted(str(m.model_fields["kind"].default) for m in _reached(model, loc)[0])
            raise UsageError(
                f"{where}: setting {path!r} needs a kind; add kind: {' or kind: '.join(kinds)}"
            ) from None
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        # Validators of our own say the whole sentence, those of several settings have no path.
        message = first["msg"].removeprefix("Value error, ")
        place = f"setting {path!r}: " if path else ""
        raise UsageError(f"{where}: {place}{message}{more}") from None


def _reached(model: type[BaseModel], loc: list[str]) -> tuple[list[type[BaseModel]], list[str]]:
    """Settings that a location of pydantic's leads to, and the location as a user writes it.

    Behind a union that is told apart by kind, pydantic names the kind; a settings file does not.
    """
    models: list[type[BaseModel]] = [model]
    path: list[str] = []
    for part in loc:
        if part.isdigit():
            path.append(part)
        elif len(models) > 1 and all("kind" in m.model_fields for m in models):
            models = [m for m in models if m.model_fields["kind"].default == part]
        else:
            path.append(part)
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            # What is no field is a name that the user gave to a group: parts.NAME.weight.
            if fields:
                models = [m for field in fields for m in _models_in(field.annotation)]
    return models, path


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every settings model that an annotation mentions, through unions, lists and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for argument in getattr(annotation, "__args__", ()):
        found += _models_in(argument)
    return found
