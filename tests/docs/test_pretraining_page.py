"""The page on what pre-training buys, from invented results, whole and with much missing."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atomprint.structures.crystal import Crystal

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "generate_pretraining_page.py"
ABOUT = {
    "python": "3.11.7", "processor": "a processor", "versions": {"torch": "2"}, "commit": "abc"
}  # fmt: skip
SETTINGS = {
    "model": {"backbone": {"kind": "painn", "n_layers": 3, "n_channels": 64, "cutoff": 6.0}},
    "objectives": [{"kind": "fingerprints", "fingerprints": [{"kind": "ead"}]}],
    "task_weights": "fixed",
    "loop": {"batch": {"max_crystals": 32}, "optimizer": {"learning_rate": 0.002}},
}


def loaded(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return loaded(SCRIPT)


def arm(name, errors, n_crystals=10_000, n_steps=5000, part="test"):
    """A file of the study, from (set, labels, seed) to MAE."""
    rows = [
        {"set": s, "n_labels": n, "seed": k, "mae": mae, "learning_rate": 0.002, "n_test": 9,
         "cpu_seconds": 1.0}
        for (s, n, k), mae in errors.items()
    ]  # fmt: skip
    file = {"arm": name, "part": part, "results": rows, "environment": ABOUT}
    if name != "scratch":
        file["pretraining"] = {
            "cpu_seconds": 250.0, "n_steps": n_steps, "n_crystals": n_crystals,
            "settings": SETTINGS, "last": {},
        }  # fmt: skip
    return file


def halves(factor, sets=("band gap", "phonon peak"), numbers=(100, 400, 1000, 2000)):
    """MAE of 800 / labels, times a factor, with two seeds 1 % apart."""
    return {
        (s, n, k): factor * 800 / n * 1.01**k for s in sets for n in (*numbers, 500) for k in (0, 1)
    }


def write(folder, files, **others):
    """Files as the study writes them."""
    for index, file in enumerate(files):
        path = folder / "pretraining" / file["part"] / f"{index}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(file))
    for name, content in others.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def row(text, start):
    """Cells of the first line of a table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


DFT = {
    "label_cpu_seconds": {"mean": 7.0}, "n_crystals": 3, "settings": {"code": "A 1, B 2"},
    "hardware": "a core", "median_atoms_per_cell": 2.0,
}  # fmt: skip


@pytest.fixture
def whole(script, tmp_path):
    default = script.DEFAULT
    write(
        tmp_path,
        [
            arm("scratch", halves(1.0)),
            arm(default, halves(0.5)),
            arm(f"{default}, 1000 crystals", halves(0.75), n_crystals=1000),
            arm(f"{default}, 20000 steps", halves(0.4, ("band gap",)), n_steps=20_000),
            arm("denoising", halves(0.8, ("band gap",))),
            arm("scratch", halves(1.0), part="dev"),
            arm("soap", halves(0.9), part="dev"),
            arm("gmp", halves(0.6), part="dev"),
            arm("rdf", halves(0.1, ("band gap",)), part="dev"),
        ],
        dft_label_cost=DFT,
    )
    return script.Study.read(tmp_path)


def test_the_page_is_up_to_date():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_gains_in_the_headline(script, whole):
    text = script.tables.headline(whole)
    assert row(text, "band gap (eV)") == [
        "band gap (eV)", "500", "1.61", "50.0 % (50.0 to 50.0)", "20.0 % (20.0 to 20.0)"
    ]  # fmt: skip
    assert row(text, "phonon peak (cm⁻¹)")[-1] == "–"
    assert row(text, "**geometric mean**")[-2:] == ["**50.0 %**", "**20.0 %**, 1 of 2 sets"]
    assert row(script.tables.rivals(whole), "`denoising`")[1:4] == ["1", "2", "30.0"]


def test_the_sets_label_is_left_out_beside_the_labelled_rival(script, tmp_path):
    sets = (script.ITS_SET, "band gap")
    labelled = halves(0.1, sets[:1]) | halves(0.9, sets[1:])
    files = [("scratch", halves(1.0, sets)), (script.DEFAULT, halves(0.5, sets))]
    write(tmp_path, [arm(*one) for one in [*files, (script.LABELLED, labelled)]])
    study = script.Study.read(tmp_path)
    # sqrt(0.1 · 0.9) = 0.3: behind by 20 points with the set, ahead by 40 without.
    rows = script.tables.rivals(study)
    assert row(rows, f"`{script.LABELLED}` ")[1:4] == ["2", "4", "-20.0"]
    assert row(rows, f"`{script.LABELLED}`, other")[1:4] == ["1", "2", "40.0"]


def test_recipes_are_sorted_and_those_with_a_set_missing_come_last(script, whole):
    lines = script.tables.ablation(whole).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == ["`gmp`", "`soap`", "`rdf`"]
    assert row(lines[0], "`gmp`")[-2:] == ["40.0 %", "250"]
    assert row(lines[2], "`rdf`")[-3:] == ["–", "–", "250"]


def test_recipes_with_a_set_missing_are_sorted_by_what_all_have(script, tmp_path):
    two, three = ("band gap", "phonon peak"), ("band gap", "phonon peak", "carbon energy")
    files = [("scratch", halves(1.0, three)), ("gmp", halves(0.6, three))]
    files += [("adf", halves(0.4, two)), ("rdf", halves(0.2, two)), ("ead", halves(0.8, three))]
    write(tmp_path, [arm(*one, part="dev") for one in files])
    lines = script.tables.ablation(script.Study.read(tmp_path)).splitlines()
    assert row(lines[0], "arm")[-3:-1] == ["mean", "mean of 2"]
    found = [row(line, "`")[-3:-1] for line in lines[2:]]
    assert found == [["40.0 %", "40.0 %"], ["20.0 %", "20.0 %"], ["–", "80.0 %"], ["–", "60.0 %"]]


def test_a_potential_stands_beside_the_default_on_what_both_have(script, tmp_path):
    sets = ("formation energy", "band gap", "phonon peak")
    name = script.tables.RECIPE
    files = [(script.twin(name), halves(1.0, sets)), (name, halves(0.6, sets))]
    assert script.tables.potential(script.Study.read(tmp_path)) == ""
    files.append((script.POTENTIAL, halves(0.8, sets[1:]) | halves(0.4, sets[:1])))
    write(tmp_path, [arm(*one) for one in files])
    found = script.tables.potential(script.Study.read(tmp_path))
    assert row(found, "formation energy")[2:5] == [
        "2",
        "40.0 % (40.0 to 40.0)",
        "60.0 % (60.0 to 60.0)",
    ]
    # 1 - (0.4 * 0.8 * 0.8) ** (1/3), and 1 - 0.8 without the set that it has seen.
    assert row(found, "**geometric mean**")[3:5] == ["**40.0 %**", "**36.5 %**"]
    assert row(found, "**without formation energy**")[3:5] == ["**40.0 %**", "**20.0 %**"]


def test_folds_of_small_sets_hold_no_test_crystal(script):
    sets = sys.modules["sets"]
    rows = [Crystal.make(str(k), [14], np.eye(3) * 5, frac=[[0, 0, 0]]) for k in range(700)]
    _, test = sets.parts("exfoliation energy", rows, "test")
    folds = []
    for seed in range(sets.FOLDS):
        pool, judged = sets.parts("exfoliation energy", rows, "dev", seed)
        folds += [crystal.id for crystal in judged]
        ids = [crystal.id for crystal in (*test, *pool, *judged)]
        assert sorted(ids) == sorted(crystal.id for crystal in rows)
    assert sorted(folds) == sorted(crystal.id for crystal in rows[len(test) :])


def test_labels_saved(script, whole):
    # The default halves 800 / n: it needs half the labels, and 500 are worth 1,000.
    found = row(script.tables.labels_saved(whole), "band gap (eV)")
    assert found[1:3] == ["1,000", "0.804"]
    assert found[3].startswith("500 (")
    assert found[4].startswith("800 (")
    assert found[5].startswith("1,000 (")
    assert row(script.tables.labels_saved(whole), "**median of shares**")[3] == "**50 %**"


def test_sets_that_only_the_wide_network_has_count_too(script, tmp_path):
    """MOFs were measured with the default and its twin alone."""
    recipe, narrow, wide = script.costs.RECIPE, ("band gap",), ("band gap", "MOF band gap")
    later = arm(recipe, halves(0.5, wide))
    for one in later["results"]:
        if one["set"] == "MOF band gap":
            one["weights"] = "0123"
    later["environments"] = [ABOUT | {"processor": "an older one"}, ABOUT]
    write(
        tmp_path,
        [
            arm("scratch", halves(1.0, narrow)),
            arm("scratch, wide, refit", halves(1.0, wide)),
            later,
        ],
    )
    study = script.Study.read(tmp_path)
    found = row(script.tables.headline(study), "MOF band gap")
    assert found[2] == "–"
    assert found[-1].startswith("50.0 %")
    (words,) = script.other_runs(study)
    assert "pre-trained 2 times" in words
    assert "the first, whose network was not kept (seed 0 of band gap, seed 1 of band gap)" in words
    assert "`0123` (seed 0 of MOF band gap, seed 1 of MOF band gap)" in words
    for one in later["results"]:
        one["weights"] = "0123"
    write(tmp_path / "one run", [later])
    assert script.other_runs(script.Study.read(tmp_path / "one run")) == []
    assert "a processor, an older one" in script.provenance([later])


def test_errors_beside_a_gain_are_of_the_seeds_that_both_have(script, tmp_path):
    """README's table: the twin has a seed more, on which it does much better."""
    one = ("band gap", 500, 0)
    twin = arm("scratch, wide, refit", {one: 0.8, ("band gap", 500, 1): 0.1})
    write(tmp_path, [twin, arm(script.costs.RECIPE, {one: 0.4})])
    table = loaded(SCRIPT.with_name("generate_results_page.py")).recipe_table(
        script.Study.read(tmp_path)
    )
    assert row(table, "band gap")[1:] == ["500", "1", "0.8", "0.4", "50.0 %"]


def test_labels_saved_in_words(script, tmp_path):
    """A quarter of the labels, half of them, and a set on which none of those tried is enough."""
    sets = ("band gap", "phonon peak", "carbon energy")
    own = {("band gap", 250, 0): 0.4, ("band gap", 500, 0): 0.2}
    own |= {("phonon peak", 250, 0): 0.8, ("phonon peak", 500, 0): 0.4}
    own |= {("carbon energy", 250, 0): 0.8, ("carbon energy", 500, 0): 0.6}
    twin = arm("scratch, wide, refit", {(name, 1000, 0): 0.4 for name in sets})
    write(tmp_path, [twin, arm(script.costs.RECIPE, own)])
    words = loaded(SCRIPT.with_name("generate_results_page.py")).labels_words
    text = words(script.Study.read(tmp_path))
    assert "50 % of them in the median of 3 sets (25 % to more than were tried)" in text
    assert words(script.Study()) == ""


def test_dft_labels_of_the_corpus_are_a_lower_bound_beside_the_dearer_run(script, tmp_path):
    cheap, dear = (arm(script.costs.RECIPE, halves(0.5), 1000, part=p) for p in ("test", "dev"))
    dear["pretraining"]["cpu_seconds"] = 500.0
    crystals = [
        {"n_atoms": 8, "cpu_seconds": seconds, "status": status}
        for seconds, status in [(10.0, "ok")] * 3 + [(40.0, "stopped")] * 2 + [(1e6, "failed: x")]
    ]
    sample = {
        "crystals": crystals, "n_corpus": 1000, "n_with_datasets": 800,
        "mean_atoms_of_corpus": 9.0, "protocol": {"limit": 40}, "environment": ABOUT,
    }  # fmt: skip
    write(tmp_path, [cheap, dear], dft_label_cost=DFT, dft_corpus_cost=sample)
    study = script.Study.read(tmp_path)
    # (3 · 10 + 2 · 40) / 5 = 22 s a crystal; 1,000 of them and 500 s, over 500 s.
    assert script.costs.corpus_labels(study).value == pytest.approx(22.0)
    assert script.costs.sampled_ratio(study, script.costs.RECIPE).value == pytest.approx(45.0)
    words = script.costs.corpus_words(study)
    assert "5 random crystals" in words
    assert "2 were stopped after 40 CPU s" in words
    assert "20.0 % of the corpus" in words
    assert "45 times" in words
    found, met = row(script.costs.goals(study), "the recipe, with DFT")[-2:]
    assert found.startswith("45 (")
    assert met == "**not met**"
    sample["crystals"] = crystals[:4]
    write(tmp_path, [], dft_corpus_cost=sample)
    assert script.costs.corpus_words(script.Study.read(tmp_path)) == ""


def test_labels_and_steps_on_one_machine_are_a_ratio(script, tmp_path):
    own = arm(script.costs.RECIPE, halves(0.5), 1000, n_steps=920)
    own["pretraining"]["settings"] = SETTINGS | {"valid_fraction": 0.05}
    # DFT takes twice what it took, with one crystal that failed and counts nowhere.
    turns = [
        {"status": "ok", "label_cpu_seconds": 2.0 * then, "label_cpu_seconds_then": then,
         "step_ms": 100.0}
        for then in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]  # fmt: skip
    turns.append(turns[0] | {"status": "failed: x", "label_cpu_seconds": 1e6})
    measured = {"turns": turns, "n_corpus": 1000, "environment": ABOUT}
    write(tmp_path, [own], dft_label_cost=DFT, one_machine_cost=measured)
    study = script.Study.read(tmp_path)
    found = script.costs.in_turns(study)
    assert found["slower"].value == pytest.approx(2.0)
    assert found["ms"].value == pytest.approx(100.0)
    # 50 crystals held out are two batches, forty times: 1,000 steps of 0.1 s beside 1,000 labels.
    label = 2 * DFT["label_cpu_seconds"]["mean"]
    assert found["ratio"].value == pytest.approx(1 + 1000 * label / (1000 * 0.1))
    assert found["ratio"].low == pytest.approx(found["ratio"].high)
    words, met = row(script.costs.goals(study), "the same, of the recipe, both")[-2:]
    assert words.startswith(f"{script.costs.times(found['ratio'].value)} (")
    assert met == ("met" if found["ratio"].low >= 100 else "**not met**")
    assert "5 random labels" in script.costs.turns_words(study)
    measured["turns"] = turns[:4]
    write(tmp_path, [], one_machine_cost=measured)
    assert script.costs.turns_words(script.Study.read(tmp_path)) == ""


def test_what_was_not_reached_is_said_in_words(script):
    words, curve = script.tables.labels_words, {100: {}, 1000: {}}
    inf = float("inf")
    assert words(0.0, curve) == "fewer than 100"
    assert words(inf, curve) == "more than 1,000"
    interval = script.tables.g.Interval
    ranged = script.tables.labels_ranged
    assert ranged(interval(inf, 432.1, inf), curve) == (
        "not reached: more than 1,000 (432 to more than 1,000)"
    )
    assert ranged(interval(250.4), curve) == "250"


def test_series_are_of_what_all_their_points_have(script, whole):
    (crystals,) = script.series(whole, "n_crystals")
    assert {n: round(p.value, 6) for n, p in crystals.points.items()} == {1000: 0.25, 10_000: 0.5}
    assert (crystals.arm, crystals.fixed, crystals.n_sets) == (script.DEFAULT, 5000, 2)
    (steps,) = script.series(whole, "n_steps")
    assert {n: round(p.value, 6) for n, p in steps.points.items()} == {5000: 0.5, 20_000: 0.6}
    assert (steps.fixed, steps.n_sets, steps.n_pairs) == (10_000, 1, 2)


def test_of_two_runs_the_cheaper_counts(script):
    def file(seconds):
        return {"arm": "ead", "results": [], "pretraining": {"cpu_seconds": seconds}}

    for dev, test in ((300.0, 200.0), (200.0, 300.0)):
        study = script.Study(dev={"ead": file(dev)}, test={"ead": file(test), "scratch": {}})
        assert study.arms["ead"]["pretraining"]["cpu_seconds"] == 200.0
        assert study.arms["scratch"] == {}


def test_names_of_variants(script):
    base = sys.modules["loaded"].base
    assert base("ead, 64 components, 20000 steps, 1000 crystals") == "ead, 64 components"
    assert base("ead+masking, 1000 crystals") == "ead+masking"
    assert base("ead, 64 components") == "ead, 64 components"
    assert base("ead, wide, 15000 steps, up to 30 atoms") == "ead, wide"
    assert base("ead, wide, 30000 steps, real+made+20 layers, refit") == "ead, wide"
    assert base("ead, 9 steps, up to 30 atoms, pre-training seed 1, refit") == "ead"
    assert sys.modules["loaded"].twin("ead, wide, 15000 steps, up to 30 atoms") == "scratch, wide"


def test_costs_by_hand(script, whole, tmp_path):
    # 64 ms of targets for 32 crystals: 2 ms each; labels of 7 s are 3,500 times that. Labels of
    # 10,000 crystals and a run of 250 s are 281 times that run.
    quartiles = {"lower": 0.1, "median": 64.0, "upper": 0.2}
    cost = {"ms_targets": quartiles, "ms_step": quartiles, "share": quartiles | {"median": 0.25}}
    (tmp_path / "pretraining/target_cost.json").write_text(
        json.dumps({"arms": {script.DEFAULT: cost}, "environment": ABOUT})
    )
    # The default's own goals are judged by the longer, wider run, over a twin of its width and
    # of its protocol of fine-tuning.
    sets = ("band gap", "phonon peak")
    for name, factor in (("scratch, wide, refit", 2.0), (script.RECIPE, 0.5)):
        file = arm(name, halves(factor, sets), n_steps=15_000)
        (tmp_path / f"pretraining/test/{len(name)}-more.json").write_text(json.dumps(file))
    study = script.Study.read(tmp_path)
    assert script.costs.label_ratio(study) == pytest.approx(3500)
    assert script.costs.whole_ratio(study) == pytest.approx((70_000 + 250) / 250)
    assert row(script.costs.labels_table(study), "the corpus")[1:] == [
        "19.4 CPU h", "20.0 CPU s", "3,500"
    ]  # fmt: skip
    goals = script.costs.goals(study)
    assert row(goals, "labels of the corpus")[3:] == ["3,500", "**not met**"]
    assert row(goals, "targets, share")[3:] == [f"25.0 % (`{script.DEFAULT}`)", "**not met**"]
    assert row(goals, "mean gain")[3:] == ["75.0 %", "aim met"]
    assert row(goals, "labels for the from-scratch")[3:] == ["25 %, 2 sets", "met"]
    assert row(goals, "the same, of the recipe")[3:] == ["280", "met"]
    assert row(goals, "points ahead of `conditioned")[3:] == ["–", "not measured yet"]


def test_times_has_two_digits(script):
    times = script.costs.times
    assert [times(x) for x in (0.123, 1.26, 12.6, 281.4, 112345)] == [
        "0.12", "1.3", "13", "280", "110,000"
    ]  # fmt: skip


def test_the_page_copes_with_what_is_missing(script, whole):
    for dev in ({}, whole.dev, {"scratch": whole.dev["scratch"]}):
        for test in ({}, whole.test, {"scratch": whole.test["scratch"]}, {"denoising": None}):
            if test == {"denoising": None}:
                test = {name: whole.test[name] for name in ("scratch", "denoising")}
            for dft in ({}, whole.dft):
                text = script.page(script.Study(dev, test, dft=dft))
                assert text.startswith("# What pre-training buys")
                assert "nan" not in text.split()


def test_files_are_written_checked_and_noticed_when_stale(script, whole, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    assert script.stale(script.Study(), docs) == {}
    files = script.stale(whole, docs)
    assert sorted(path.name for path in files) == sorted((script.PAGE, script.CURVES, script.SIZES))
    for path, make in files.items():
        path.write_text(make(), encoding="utf-8")
    assert script.stale(whole, docs) == {}
    whole.test["scratch"]["results"][0]["mae"] *= 2
    assert docs / script.CURVES in script.stale(whole, docs)


def test_drawings_are_the_same_bytes_in_another_process(whole, tmp_path):
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, SCRIPT, "--results", tmp_path, "--docs", tmp_path / name]
        assert subprocess.run(command).returncode == 0
        texts.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert len(texts[0]) == 3
    assert texts[0] == texts[1]
    assert b"<dc:date>" not in texts[0][0] + texts[0][1] + texts[0][2]
