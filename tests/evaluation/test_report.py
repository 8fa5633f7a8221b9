"""The report: one page, nothing from outside, the verdict in words, and numbers that are right."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import yaml

from atomprint.evaluation import figures
from atomprint.evaluation.report import summarize, verdict, write_report
from atomprint.ground.errors import DataError, UsageError


class Page(HTMLParser):
    """Collects tags, text, and whatever a browser would fetch."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []
        self.feed(text)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [
            value
            for name, value in attributes
            if name in ("href", "src", "xlink:href", "data") and value
        ]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def row(seed=0, value=0.75, twin=1.0, n_train=100, target="gap", **more):
    return {
        "target": target, "unit": "eV", "metric": "MAE", "n_train": n_train, "n_valid": 15,
        "n_test": 20, "seed": seed, "value": value, "twin_value": twin, "gain": 1 - value / twin,
        "seconds": 10.0, "twin_seconds": 9.0, "learning_rate": 0.001, **more,
    }  # fmt: skip


def test_everything_in_a_folder_of_runs(tiny_runs):
    page = read(write_report(tiny_runs))
    # Two figures for each of three fine-tunings, one for pre-training, one learning curve.
    assert page.tags.count("svg") == 8
    for text in (
        "Learning curve: energy",
        "Pre-training: pretrain",
        "Fine-tuning: tuned-0",
        "Fine-tuning: tuned-small",
        "energy with 30 labels",
        "of 2 seeds",
        "energy with 12 labels",
        "(one seed)",
    ):
        assert text in page.text
    about = json.loads((tiny_runs / "pretrain/run.json").read_text())
    assert about["data"]["hash"] in page.text
    assert f"torch {about['environment']['versions']['torch']}" in page.text
    assert "n_radial: 4" in page.text


def test_curves_of_pretraining_are_those_of_every_objective(
    shell, tiny_data, tmp_path, monkeypatch
):
    """A line and dots a term, in a mixture on a schedule too."""
    config = yaml.safe_load((tiny_data / "tiny.yaml").read_text())
    config["objectives"] += [
        {"kind": "masking", "fraction": 0.4, "start": 0.5},
        {"kind": "denoising", "stop": 0.5},
    ]
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "run"
    words = ["pretrain", tmp_path / "mixed.yaml", "--data", tiny_data / "toy.parquet"]
    assert shell(*words, "--out", out)[0] == 0
    rows = json.loads((out / "history.json").read_text())["rows"]
    drawn = []
    monkeypatch.setattr(figures, "svg", lambda figure: drawn.append(figure) or "<svg></svg>")
    write_report(out)
    (figure,) = drawn
    lines = {line.get_label(): line for line in figure.axes[0].lines if "/" in line.get_label()}
    (fingerprint,) = (name for name in lines if name.startswith("fingerprints/ead-"))
    assert set(lines) == {
        fingerprint, "masking/elements", "masking/properties", "denoising/displacement",
    }  # fmt: skip
    for name, line in lines.items():
        logged = [(r["step"], r[f"train/{name}"]) for r in rows if f"train/{name}" in r]
        assert [tuple(point) for point in line.get_xydata()] == logged
    assert len(lines[fingerprint].get_xydata()) == 3
    assert 0 < len(lines["masking/elements"].get_xydata()) < 3
    assert {f"valid/{name}" for name in lines} <= {name for row in rows for name in row}


def test_nothing_comes_from_outside(tiny_runs):
    path = write_report(tiny_runs)
    page = read(path)
    assert page.links, "figures refer to their own parts"
    assert all(link.startswith(("#", "data:image/")) for link in page.links)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.search(r"url\((?!['\"]?#)|@import", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("run", "figures"), [("pretrain", 1), ("tuned-0", 2)])
def test_a_single_run(tiny_runs, tmp_path, run, figures):
    shutil.copytree(tiny_runs / run, tmp_path / run)
    path = write_report(tmp_path / run)
    assert path == tmp_path / run / "report.html"
    assert read(path).tags.count("svg") == figures


def test_a_second_report_is_the_same(tiny_runs):
    first = write_report(tiny_runs).read_text()
    assert write_report(tiny_runs).read_text() == first


def test_names_are_escaped(tiny_runs, tmp_path):
    """A label may be called anything."""
    name = "<script>$\\frac{$ & \"y'"
    run = tmp_path / "a<b>&c"
    shutil.copytree(tiny_runs / "tuned-0", run)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["results"][0] |= {"target": name, "unit": "<i>"}
    (run / "metrics.json").write_text(json.dumps(metrics))
    predictions = (run / "predictions.csv").read_text()
    quoted = name.replace('"', '""')
    for suffix in ("", "_predicted", "_twin"):
        predictions = predictions.replace(f"energy{suffix},", f'"{quoted}{suffix}",')
        predictions = re.sub(f"energy{suffix}\r?\n", f'"{quoted}{suffix}"\n', predictions)
    (run / "predictions.csv").write_text(predictions)
    page = read(write_report(tmp_path))
    assert "script" not in page.tags
    assert "i" not in page.tags
    assert f"{name} with 30 labels" in page.text
    assert "Fine-tuning: a<b>&c" in page.text
    assert page.tags.count("svg") == 2, "the parity plot found its columns"


def test_missing_numbers_are_dashes(tiny_runs, tmp_path):
    shutil.copytree(tiny_runs / "tuned-0", tmp_path / "run")
    path = tmp_path / "run/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["results"][0] |= {"value": None, "gain": None, "twin_value": None}
    path.write_text(json.dumps(metrics))
    page = read(write_report(tmp_path))
    assert "–" in page.text
    assert "no from-scratch twin to compare with" in page.text


def test_verdicts():
    wins = [row(0, 0.8), row(1, 0.7), row(2, 0.73)]
    assert verdict(wins) == (
        "gap with 100 labels: the pre-trained network is better in 3 of 3 seeds: "
        "error 26 % lower [20, 30]."
    )
    mixed = [row(0, 1.3), row(1, 0.9)]
    assert verdict(mixed).endswith("better in 1 of 2 seeds: error 10 % higher [-10, 30].")
    assert verdict([row(0, 0.5)]).endswith("is better (one seed): error 50 % lower.")
    assert verdict([row(0, 1.5)]).endswith("is not better (one seed): error 50 % higher.")


def test_one_seed_says_how_sure_it_is():
    unsure = verdict([row(0, 0.9, gain_interval=[-0.11, 0.28])])
    assert "is not told apart from its twin (one seed): error 10 % lower; " in unsure
    assert unsure.endswith("the gain is -11 to 28 %.")
    assert "is better (one seed)" in verdict([row(0, 0.7, gain_interval=[0.1, 0.5])])
    assert "is not better (one seed)" in verdict([row(0, 1.3, gain_interval=[-0.5, -0.1])])
    # Where there is none, as for classes, nothing is said of it.
    assert verdict([row(0, 0.5, gain_interval=None)]).endswith("error 50 % lower.")


def test_numbers_over_seeds():
    line = summarize([row(0, 0.8), row(1, 0.6), row(2, 0.9, 1.2)])
    assert line["value"] == pytest.approx(2.3 / 3)
    assert line["twin_value"] == pytest.approx(3.2 / 3)
    assert line["gain"] == pytest.approx((0.2 + 0.4 + 0.25) / 3)
    assert (line["wins"], line["seeds"], line["seconds"]) == (3, 3, 30.0)
    assert (line["gain_min"], line["gain_max"]) == pytest.approx((0.2, 0.4))


def test_runs_on_other_data_are_not_averaged(tiny_runs, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(tiny_runs / "tuned-0", tmp_path / name)
    about = json.loads((tmp_path / "b/run.json").read_text())
    about["data"]["hash"] = "another"
    (tmp_path / "b/run.json").write_text(json.dumps(about))
    page = read(write_report(tmp_path))
    assert page.text.count("(one seed)") == 2
    assert "(data anothe)" in page.text


def test_no_run_and_broken_runs_are_said_plainly(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no finished run"):
        write_report(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(DataError, match=r"history\.json"):
        write_report(tmp_path)
