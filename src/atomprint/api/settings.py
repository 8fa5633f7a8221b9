"""Settings from a file and from ``key=value`` pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from atomprint.api.inputs import PathInput
from atomprint.ground.documents import yaml_of
from atomprint.ground.errors import UsageError
from atomprint.ground.settings import Settings, validate

SettingsT = TypeVar("SettingsT", bound=Settings)


def load_settings(
    model: type[SettingsT], config: PathInput | None, overrides: Sequence[str] = ()
) -> SettingsT:
    """Read settings from YAML and ``key=value`` pairs; both may be missing.

    Raises
    ------
    UsageError
        For a file that is not there or not YAML, or an unknown or impossible setting.
    """
    values: dict[str, Any] = {}
    where = "settings"
    if config is not None:
        where = str(config)
        try:
            loaded = yaml_of(Path(config).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{config}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise UsageError(f"{config}: not YAML ({error})") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise UsageError(f"{config}: settings are key: value lines, this is something else")
        values = loaded or {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise UsageError(f"{override!r}: give key=value, for instance loop.n_steps=2000")
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"{override!r}: {parent!r} is a value, not a group of settings")
        try:
            place[last] = yaml_of(text)
        except ValueError:
            raise UsageError(f"{override!r}: the value is not YAML") from None
    return validate(model, values, where)
