"""docs/published.md is what the results say, and says first where we lose."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "generate_evaluation_page.py"
PUBLISHED = {
    "source": "a leaderboard",
    "differences": ["something"],
    "tasks": {
        "phonons": {"unit": "cm", "without": [28.0, "A"], "jmp": 20.0},
        "jdft2d": {"unit": "meV", "without": [30.0, "B"], "jmp": 29.0},
        "mp_gap": {"unit": "eV", "without": [0.2, "C"], "jmp": 0.1},
    },
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("generate_evaluation_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def row(kind, value, n_splits=5, interval=None):
    return {
        "arm": f"the {kind}",
        "kind": kind,
        "n_splits": n_splits,
        "value": value,
        "spread": 1.0,
        "interval": interval,
    }


def results(**tasks):
    about = {"processor": "P", "versions": {"torch": "2"}, "commit": "abc"}
    measured = {name: {"unit": "u", "rows": rows} for name, rows in tasks.items()}
    return {"matbench.json": {"tasks": measured, "environment": about}}


def test_the_page_is_up_to_date():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_losses_come_first_and_are_counted_by_hand(script):
    text = script.page(
        results(
            phonons=[row("pretrained", 35.0), row("scratch", 50.0), row("baseline", 34.0)],
            jdft2d=[row("pretrained", 27.0, interval={"value": 27, "low": 25.0, "high": 31.0})],
        ),
        PUBLISHED,
    )
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads[1:3] == ["## Where we lose", "## Where we do not"]
    lost, won = text.split("## Where we do not")[0], text.split("## Where we do not")[1]
    # 35 / 28 = 1.25; 35 / 20 = 1.75; 27 / 30 = 0.9.
    assert "**phonons**: our best network has 35 u, 25 % more" in lost
    assert "ours is 75 % above it" in lost
    assert "the baseline, which needs no network, has 34 u and is ahead" in lost
    assert "Not measured, and so not claimed: mp_gap." in lost
    assert "27 u (95 % interval 25 to 31), 10 % less" in won
    assert "cannot be told apart" in won
    assert "| mp_gap (eV) | 0.2 (C) | 0.1 |" in text


def test_few_folds_are_no_figure_to_compare(script):
    rows = [row("pretrained", 20.0, n_splits=3), row("scratch", 25.0, n_splits=4)]
    text = script.page(results(phonons=rows), PUBLISHED)
    assert "Only 3 of 5 folds are done: this is not yet a figure to compare." in text
    assert "| 20 ± 1, 3 folds | 25 ± 1, 4 folds |" in text


def test_of_several_files_the_better_network_counts(script):
    both = results(phonons=[row("pretrained", 35.0)])
    both["later.json"] = results(phonons=[row("pretrained", 27.0)])["matbench.json"]
    both["few.json"] = results(phonons=[row("pretrained", 10.0, n_splits=1)])["matbench.json"]
    (one,) = script.tasks(both, PUBLISHED)
    assert (one.file, one.network["value"]) == ("later.json", 27.0)
