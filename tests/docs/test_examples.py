"""Every example in README and docs runs, in order, page by page, only with fewer steps.

A fenced block of ``python``, ``console``, ``bash`` or ``yaml`` is an example. Before a page's first
example a folder is made with what the pages speak of: ``crystals/`` and ``labels.csv``, and both in
``mine.csv``. A ``yaml`` block becomes ``config.yaml``. ``<!-- no-test: reason -->`` on the line
before leaves a block out.
"""

import csv
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from ase import Atoms

from atomprint.api import finetuning, pretraining
from atomprint.cli.main import run
from atomprint.evaluation import networks, regressors
from tests.toy import toy_crystals

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# A page that only shows the form of settings files.
UNTESTED = {"settings.md"}
BLOCK = re.compile(
    r"(?P<skip><!-- no-test: [^\n]+ -->\n)?^```(?P<kind>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)


def examples(page):
    """Kind and text of every block that is to run, with its line."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if not match["skip"] and match["kind"] in ("python", "console", "bash", "yaml"):
            line = text[: match.start("code")].count("\n") + 1
            yield match["kind"], match["code"], line


def commands(code):
    """Commands of a block: lines after ``$``, or all lines if none has one."""
    lines = code.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip()]


def write_user_files(folder):
    """A user's crystals and labels."""
    (folder / "crystals").mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "band_gap", "density", "dense"])
        for index, crystal in enumerate(toy_crystals(24)):
            atoms = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
            atoms.write(folder / "crystals" / f"{crystal.id}.cif")
            gap = -crystal.labels["energy"]
            table.writerow([crystal.id, gap, crystal.n_atoms / crystal.volume, index % 2])
    with (folder / "mine.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "cif", "band_gap", "year"])
        for index, crystal in enumerate(toy_crystals(24)):
            text = (folder / "crystals" / f"{crystal.id}.cif").read_text()
            table.writerow([crystal.id, text, -crystal.labels["energy"], 2000 + index])


@pytest.fixture
def few_steps(monkeypatch):
    """Train for three steps, whatever the page says, and fit few, small models beside them."""
    grid_of = regressors.grid_of
    monkeypatch.setattr(regressors, "grid_of", lambda *args: grid_of(*args)[:1])
    monkeypatch.setattr(regressors, "N_TREES", 3)
    monkeypatch.setattr(regressors, "N_ROUNDS", 3)
    pretrain, run_twins = pretraining.run_pretraining, finetuning.run_twins
    finetune = networks.finetune

    def short_pretraining(crystals, settings, *args, **more):
        loop = settings.loop.model_copy(update={"n_steps": 3, "device": "cpu"})
        return pretrain(crystals, settings.model_copy(update={"loop": loop}), *args, **more)

    def short_twins(parts, targets, settings, *args, **more):
        loop = settings.loop.model_copy(update={"device": "cpu", "evaluate_every": 2})
        update = {"n_steps": 3, "learning_rates": settings.learning_rates[:1], "loop": loop}
        update["adapt"] = settings.adapt.model_copy(
            update={"n_steps": min(2, settings.adapt.n_steps)}
        )
        return run_twins(parts, targets, settings.model_copy(update=update), *args, **more)

    def short_finetuning(train, valid, targets, model_settings, settings, *args, **more):
        update = {"n_steps": 3, "learning_rates": settings.learning_rates[:1]}
        update["adapt"] = settings.adapt.model_copy(
            update={"n_steps": min(2, settings.adapt.n_steps)}
        )
        settings = settings.model_copy(update=update)
        return finetune(train, valid, targets, model_settings, settings, *args, **more)

    monkeypatch.setattr(networks, "finetune", short_finetuning)
    monkeypatch.setattr(pretraining, "run_pretraining", short_pretraining)
    monkeypatch.setattr(finetuning, "run_twins", short_twins)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page, tmp_path, monkeypatch, few_steps, capsys):
    blocks = [] if page.name in UNTESTED else list(examples(page))
    if not blocks:
        pytest.skip("no examples")
    monkeypatch.chdir(tmp_path)
    if page.name != "reading.md":
        write_user_files(tmp_path)
    names = {"__name__": "__main__"}
    for kind, code, line in blocks:
        if kind == "python":
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
        elif kind == "yaml":
            Path("config.yaml").write_text(code)
        else:
            for command in commands(code):
                words = shlex.split(command, comments=True)
                if words[0] == "atomprint":
                    assert run(words[1:]) == 0, f"{command}: {capsys.readouterr().err}"
                else:
                    subprocess.run(command, shell=True, check=True, env=os.environ)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_on_the_index():
    """A page in a folder is on the page of the folder's name: docs/a/b.md on docs/a.md."""
    docs = ROOT / "docs"
    for page in PAGES:
        if page.name in ("index.md", "README.md"):
            continue
        index = docs / "index.md" if page.parent == docs else page.parent.with_suffix(".md")
        target = page.relative_to(index.parent).as_posix()
        assert f"({target})" in index.read_text(encoding="utf-8"), target
