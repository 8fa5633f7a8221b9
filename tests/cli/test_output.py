"""JSON that every reader takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from atomprint.cli.output import print_json


def test_what_json_does_not_know(capsys):
    value = {
        "nan": float("nan"),
        "infinite": np.float64("-inf"),
        "array": np.array([1.5, np.nan]),
        "count": np.int64(3),
        "path": Path("a") / "b",
        "angstrom": "eV/Å",
        "rows": ({"known": True, "missing": None},),
    }
    print_json(value)
    text = capsys.readouterr().out

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert text.isascii()
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "infinite": None,
        "array": [1.5, None],
        "count": 3,
        "path": "a/b",
        "angstrom": "eV/Å",
        "rows": [{"known": True, "missing": None}],
    }


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="object"):
        print_json({"thing": object()})
