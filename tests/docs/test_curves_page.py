"""docs/learning-curves.md is what the results say, misses included."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "generate_curves_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("generate_curves_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def row(arm, kind, n_labels, values, gain=None):
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return {
        "arm": arm,
        "kind": kind,
        "n_labels": n_labels,
        "n_splits": len(values),
        "value": mean,
        "spread": spread,
        "values": {f"{n_labels} labels seed {i}": v for i, v in enumerate(values)},
        "gain": gain,
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "seconds_per_label": 0.1,
        "peak_mib": 100.0,
        "n_parameters": 0,
    }


@pytest.fixture
def results():
    gain = {"value": 0.25, "low": 0.1, "high": None}
    curve = {
        "metric": "MAE",
        "unit": "eV",
        "verdict": ["A cheap baseline wins with 30 labels.", "run needs 40 labels."],
        "complete": False,
        "missing": ["run, 100 labels seed 2"],
        "saved": [
            {
                "arm": "run",
                "twin": "from scratch",
                "n_labels": 100,
                "needed": {"value": 40.0, "low": 30.0, "high": None},
                "share": {"value": 0.4, "low": 0.3, "high": None},
            }
        ],
        "rows": [
            row("run", "pretrained", 30, [3.0, 3.2], gain),
            row("from scratch", "scratch", 30, [4.0, 4.4]),
            row("forest", "baseline", 30, [2.0, 2.2]),
            row("median", "baseline", 30, [9.0, 9.0]),
            row("run", "pretrained", 100, [1.0, 1.2]),
            row("from scratch", "scratch", 100, [2.0, 2.4]),
            row("trees", "baseline", 100, [1.4, 1.6]),
            row("median", "baseline", 100, [9.0, 9.0]),
        ],
        "set": {
            "file": "mine.parquet",
            "n_used": 2810,
            "most_atoms": 60,
            "n_pool": 1500,
            "n_test": 600,
            "max_atoms": 20,
            "left_out_pool": 7,
            "left_out_test": 3,
            "left_out_development": 700,
            "leakage": {"n_corpus": 15000, "n_leaked": 2},
        },
    }
    about = {"processor": "P", "versions": {"torch": "2"}, "commit": "abc"}
    protocol = {"n_labels": [30, 100], "n_seeds": 2}
    return {"curves": {"log10 K": curve}, "protocol": protocol, "environment": about}


def test_the_page_is_up_to_date():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_says_what_the_results_hold(script, results):
    text = script.page(results)
    lines = text.splitlines()
    assert lines.index("- A cheap baseline wins with 30 labels.") < lines.index(
        "| 30 | 3.1 ± 0.14 | 4.2 ± 0.28 | **2.1 ± 0.14** (forest) | 25 % (10 to open) |"
    )
    assert "| 100 | **1.1 ± 0.14** | 2.2 ± 0.28 | 1.5 ± 0.14 (trees) | - |" in lines
    assert "| run | 100 | 40 | 40 % (30 to open) |" in lines
    assert "2,810 crystals of `mine.parquet`, drawn from those of at most 60 atoms" in text
    assert "600 of them judge, labels are drawn from 1,500." in text
    assert "more than 20 atoms (3 that would judge, 7 that would train)" in text
    assert "2 are in the corpus of 15,000" in text
    assert "Units that are not done yet: 1." in text


def test_the_pre_trained_arm_has_a_plain_name(script, results):
    (curve,) = results["curves"].values()
    curve["verdict"] = ["run needs 40 labels; other runs and a/run-2 do not.", "Not run."]
    (found,) = script.renamed(results)["curves"].values()
    assert found["verdict"] == [
        "The pre-trained network needs 40 labels; other runs and a/run-2 do not.",
        "Not the pre-trained network.",
    ]
    assert {row["arm"] for row in found["rows"]} >= {script.ONE, "from scratch", "forest"}
    assert [row["arm"] for row in found["saved"]] == [script.ONE]
    # Of two, each keeps its name.
    curve["rows"].append(curve["rows"][0] | {"arm": "other", "kind": "pretrained"})
    assert script.renamed(results) == results


def test_what_is_not_reached_is_said(script, results):
    (curve,) = results["curves"].values()
    nothing = {"value": None, "low": 50.0, "high": None}
    curve["saved"][0] |= {"needed": nothing, "share": nothing}
    assert "| run | 100 | more than measured | - |" in script.page(results)
    few = {"value": 0.0, "low": 0.0, "high": 30.0}
    curve["saved"][0] |= {"needed": few, "share": few}
    assert "| run | 100 | fewer than measured | - |" in script.page(results)


def test_figures_follow_the_numbers(script, results, tmp_path):
    files = script.stale(results, tmp_path)
    assert [path.name for path in files] == ["learning-curves.md", "learning-curves-log10-K.svg"]
    for path, make in files.items():
        path.write_text(make(), encoding="utf-8")
    drawing = (tmp_path / "learning-curves-log10-K.svg").read_text(encoding="utf-8")
    # The networks and the baseline that is best with the most labels, no other.
    assert all(name in drawing for name in ("run", "from scratch", "trees"))
    assert "median" not in drawing
    assert script.stale(results, tmp_path) == {}
    (curve,) = results["curves"].values()
    curve["rows"][0]["values"]["30 labels seed 0"] = 2.9
    assert [path.name for path in script.stale(results, tmp_path)] == [
        "learning-curves-log10-K.svg"
    ]
