"""docs/generators.md is what the results say."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "generators.json"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "generate_generators_page.py"
    spec = importlib.util.spec_from_file_location("generate_generators_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_results(script):
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert script.PAGE.read_text(encoding="utf-8") == script.page(results)
    assert script.numbers(results) in script.PLOT.read_text(encoding="utf-8")
    other = copy.deepcopy(results)
    other["generators"]["derived"]["shapes"]["bond"][3] += 0.1
    assert script.numbers(other) != script.numbers(results)


def test_shares_of_rejection_are_of_all_candidates(script):
    row = {"accepted": 0.8, "rejected": {"too close": 15, "polar": 5, "never": 0}}
    told = script.rejections({"generators": {"x": row}})
    # 20 rejected are a fifth of 100 candidates.
    assert "| `x` | too close 15 %, polar 5.0 % |" in told
    assert "never" not in told


def test_every_generator_is_measured(script):
    from atomprint.data.sources import SOURCES

    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["generators"]
    # Frameworks and molecules have a page and a benchmark of their own.
    missing = {kind for kind, one in SOURCES.items() if one.endless} - set(measured)
    assert missing <= {"frameworks", "molecules"}
