"""JSON and YAML that anybody may have written: data only, bounded, and one kind of error."""

import json
from typing import Any

MAX_VALUES = 200_000
"""Values in a YAML document, those that aliases repeat included."""


def json_of(text: str | bytes) -> Any:
    """Value of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def yaml_of(text: str) -> Any:
    """Value of a YAML text, of plain types only.

    Raises
    ------
    ValueError
        If it is no YAML, nested deeper than can be read, or if its aliases stand for more than
        ``MAX_VALUES`` values: nine lines can stand for a billion.
    """
    # Not everybody who reads JSON needs it.
    import yaml

    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        n_values = _count(node, {})
        if n_values > MAX_VALUES:
            raise ValueError(f"its aliases stand for {n_values:,} values")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # A date that is none, a key that is a list: what its constructors let through.
    except (TypeError, OverflowError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f"a value in it cannot be read ({error})") from None
    finally:
        loader.dispose()


def _count(node: Any, known: dict[int, int]) -> int:
    """Values below a node; an alias counts as what it repeats."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise ValueError("an alias in it stands for what it is a part of")
        return known[id(node)]
    if isinstance(node.value, str):
        return 1
    known[id(node)] = -1
    children = [
        part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))
    ]
    known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]
