"""Write docs/commands.md from the command line and docs/settings.md from the settings models.

``--check`` changes nothing and fails if a page is not what the code says.
"""

import argparse
import enum
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- Written by scripts/generate_reference.py; change the code instead. -->\n"

COMMANDS = """# Commands

The same verbs as in Python (`atomprint.fingerprint`, `atomprint.pretrain`, ...).

- Exit status: 0 done, 1 bad data, 2 bad use, 130 interrupted. An error is one sentence on standard
  error.
- With `--json`, standard output holds one JSON object and nothing else; progress and what was left
  out go to standard error.
- Crystals and labels that cannot be used are skipped, counted and named; `--strict` makes the
  first of them an error.
- Progress bars show on a terminal only.
"""

SETTINGS = """# Settings

A settings file is YAML; every key has the default given here, and a file needs only what differs:

```yaml
data: crystals.parquet
out: run
loop:
  n_steps: 8000
objectives:
  - kind: fingerprints
    fingerprints:
      - {kind: soap, cutoff: 5.0}
      - {kind: rdf, per: crystal}
  - {kind: masking, weight: 0.5}
```

Every key can also be given on the command line, groups with dots:
`atomprint pretrain config.yaml loop.n_steps=8000 loop.optimizer.learning_rate=5e-4`. An unknown
key is an error that names the nearest known one. The resolved settings of a run stand in its
`run.json`.
"""


def commands_page() -> str:
    """All of docs/commands.md."""
    from atomprint.cli.main import app

    parts = [GENERATED + COMMANDS]
    for path, command in _commands("atomprint", get_command(app)):
        parts.append(f"## {path}\n\n{command.help.strip()}\n")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(a.metavar or a.name.upper() for a in arguments)
        needed = " ".join(f"{o.opts[0]} {_metavar(o)}" for o in options if o.required)
        line = " ".join(text for text in (path, usage, needed, "[options]") if text)
        parts.append(f"```text\n{line}\n```\n")
        rows = [f"| `{a.metavar or a.name.upper()}` | {_cell(a.help)} | |" for a in arguments]
        rows += [f"| `{_name(o)}` | {_cell(o.help)} | {_default(o)} |" for o in options]
        parts.append("\n".join(["| | | default |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, member in getattr(command, "commands", {}).items():
        if hasattr(member, "commands"):
            yield from _commands(f"{path} {name}", member)
        else:
            yield f"{path} {name}", member


def _name(option: Any) -> str:
    return _cell(" ".join([*option.opts, _metavar(option)]))


def _metavar(option: Any) -> str:
    return "" if option.is_flag else str(option.metavar or option.name.upper())


def _default(option: Any) -> str:
    if option.required:
        return "required"
    value = option.default
    if option.is_flag or value is None or value in ("", ()):
        return ""
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def settings_page() -> str:
    """All of docs/settings.md."""
    from atomprint.api import PretrainConfig
    from atomprint.training.finetune import FinetuneSettings

    parts = [GENERATED + SETTINGS]
    seen: dict[type[BaseModel], str] = {}
    for title, model in (
        ("Pre-training: `atomprint pretrain`", PretrainConfig),
        ("Fine-tuning: `atomprint finetune`", FinetuneSettings),
    ):
        parts.append(f"## {title}\n")
        parts += _sections(model, seen, "")
    from atomprint.data.building import MixSettings, Part
    from atomprint.data.sources import SOURCES

    parts.append("## Mixes: `atomprint corpus build`\n")
    parts.append(next(_sections(MixSettings, {}, "")))
    # Of a part's own keys alone: sources have sections of their own.
    parts += [*_sections(Part, {}, "parts.NAME")][:2]
    parts.append("## Sources of crystals: `atomprint corpus fetch KIND`\n")
    for source in SOURCES.values():
        parts += _sections(source, seen, "")
    return "\n".join(parts)


def _sections(model: type[BaseModel], seen: dict[type[BaseModel], str], path: str) -> Iterator[str]:
    """A table for a model, then one for every model that its fields hold.

    What has a section already, by its title in ``seen``, is pointed to.
    """
    name = f"`{path}`, " if path else ""
    kind = model.model_fields.get("kind")
    title = f"{name}`kind: {kind.default}`" if kind is not None else name.rstrip(", ")
    seen[model] = title
    if title:
        first = " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())
        yield f"### {title}\n\n{first}\n"
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    deeper: list[tuple[str, type[BaseModel]]] = []
    for key, info in model.model_fields.items():
        if key == "kind":
            continue
        inside = _models_in(info.annotation)
        deeper += [(f"{path}.{key}".lstrip("."), m) for m in inside]
        rows.append(
            f"| `{key}` | {_type(info)} | {_value(info)} | {_cell(info.description or '')} |"
        )
    yield "\n".join(rows) + "\n"
    known: dict[str, list[str]] = {}
    for place, member in deeper:
        if member in seen:
            known.setdefault(place, []).append(_link(seen[member]))
        else:
            yield from _sections(member, seen, place)
    for place, links in known.items():
        yield f"### `{place}`\n\nThe same keys as {', '.join(links)}.\n"


def _link(title: str) -> str:
    """A link to a section of the page, by its title."""
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _type(info: FieldInfo) -> str:
    limits = []
    for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
        limits += [
            f"{sign} {getattr(m, name):g}"
            for m in info.metadata
            if getattr(m, name, None) is not None
        ]
    return _cell(", ".join([_words(info.annotation), *limits]))


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin in (Union, types.UnionType):
        names = dict.fromkeys(_words(a) for a in arguments if a is not type(None))
        text = " or ".join(names)
        return f"{text} or none" if type(None) in arguments else text
    if origin in (tuple, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"list of {_words(arguments[0])}"
        return "list of " + ", ".join(_words(a) for a in arguments)
    if origin is dict:
        return f"{_words(arguments[1])} by {_words(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = annotation.model_fields.get("kind")
        return f"`kind: {kind.default}`" if kind is not None else "group"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return plain.get(annotation, re.sub(r"^.*\.", "", str(annotation)))


def _value(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "none" if value is None else ""
    if not _is_group(value):
        return _cell(f"`{_short(value)}`")
    changed = _short(value)
    return "see below" if changed == "{}" else _cell(f"see below, but `{changed}`")


def _is_group(value: Any) -> bool:
    return isinstance(value, BaseModel) and "kind" not in type(value).model_fields


def _short(value: Any) -> str:
    """A default as YAML would have it, in one line; settings as their kind and what differs."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        changed = {
            name: getattr(value, name)
            for name, info in fields.items()
            if getattr(value, name) != info.get_default(call_default_factory=True)
        }
        items = {**({"kind": fields["kind"].default} if "kind" in fields else {}), **changed}
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in items.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    only_check = parser.parse_args().check
    stale = []
    for name, text in (("commands.md", commands_page()), ("settings.md", settings_page())):
        path = DOCS / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not only_check:
            path.write_text(text, encoding="utf-8")
    if stale and only_check:
        print(f"not up to date: docs/{', docs/'.join(stale)}; run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
