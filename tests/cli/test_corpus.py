"""atomprint corpus: answers for scripts, sentences for people."""

import json
from importlib import import_module

import pytest

from atomprint.cli.main import run
from atomprint.data.sources import SOURCES
from atomprint.ground.errors import UsageError
from atomprint.structures.writing import write_parquet
from tests.toy import toy_crystals


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "a.parquet", toy_crystals(30))
    write_parquet(tmp_path / "b.parquet", toy_crystals(30, seed=1))
    return tmp_path


def answer(capsys, *words):
    assert run(["corpus", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys, *words, status=2):
    assert run(["corpus", *words]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.strip().splitlines()[-1]


def test_list_names_every_source(capsys):
    found = {one["kind"]: one for one in answer(capsys, "list")["corpora"]}
    assert set(found) == {"embedded", *SOURCES}
    assert found["embedded"]["measured"]["gain"] > 0
    assert found["cod"]["measured"] is None
    assert all(one["licence"] and one["size"] and one["domain"] for one in found.values())
    assert run(["corpus", "list"]) == 0
    shown = capsys.readouterr().out
    assert "lower errors than from scratch (4,000 crystals" in shown


def test_fetch_tells_what_it_brought(files, capsys):
    told = answer(
        capsys, "fetch", "files", "path=a.parquet", "--set", "licence=CC0", "--n", "9",
        "--out", "s",
    )  # fmt: skip
    assert (told["crystals"], told["exhausted"], told["left_out"]) == (9, False, 0)
    assert told["provenance"] == [{"source": "a.parquet", "licence": "CC0", "citation": ""}]
    told = answer(
        capsys, "fetch", "files", "path=a.parquet", "licence=CC0", "--n", "99", "--out", "s"
    )
    assert (told["crystals"], told["resumed"], told["exhausted"]) == (30, 9, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["optimad"], "there is no source 'optimad'; did you mean 'optimade'?"),
        (["files", "kind=cod"], "the kind is given first"),
        (["files", "path=x", "paht=y"], "did you mean 'path'?"),
        (["files"], "path"),
        (["files", "path=nowhere"], "does not exist"),
        (["cod"], "needs a query"),
        (["generated"], "say how many crystals"),
    ],
)
def test_mistakes_are_one_sentence(files, capsys, words, sentence):
    assert sentence in complaint(capsys, "fetch", *words, "--out", "s")
    assert not (files / "s").exists()


def test_build_and_suggest(files, capsys):
    told = answer(capsys, "suggest", "a.parquet", "b.parquet", "--for", "a.parquet", "--out",
                  "mix.yaml")  # fmt: skip
    assert told["candidates"][0]["name"] == "a.parquet"
    assert told["sentence"] in (files / "mix.yaml").read_text()
    (files / "two.yaml").write_text(
        "parts: {a: {weight: 3, path: a.parquet}, b: {weight: 1, path: b.parquet}}"
    )
    told = answer(capsys, "build", "two.yaml", "--n", "20", "--out", "s")
    assert [(part["name"], part["taken"]) for part in told["parts"]] == [("a", 15), ("b", 5)]
    assert told["crystals"] == 20
    (files / "two.yaml").write_text("parts: {a: {weigth: 3, path: a.parquet}}")
    assert "did you mean 'weight'" in complaint(
        capsys, "build", "two.yaml", "--n", "20", "--out", "t"
    )


def test_a_smaller_number_than_there_is_is_said(files, capsys):
    words = ["corpus", "fetch", "files", "path=a.parquet", "--out", "s", "--n"]
    assert run([*words, "20"]) == 0
    assert "asked for" not in capsys.readouterr().err
    assert run([*words, "20"]) == 0
    assert "asked for" not in capsys.readouterr().err
    assert run([*words, "5"]) == 0
    shown = capsys.readouterr()
    assert "s: holds 20 crystals, more than the 5 asked for; all were left" in shown.err
    assert "holds    20 crystals" in shown.out


def test_parts_show_beside_a_long_licence(files, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    terms = "under the terms of each of the authors, who are many and far apart " * 4
    (files / "mix.yaml").write_text(
        "parts: {perovskites: {source: {kind: files, path: a.parquet, licence: "
        f"'{terms}'}}}}, rest: {{path: b.parquet}}}}"
    )
    assert run(["corpus", "build", "mix.yaml", "--n", "8", "--out", "s"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["perovskites", "4"] in rows
    assert ["rest", "4"] in rows


def test_suggest_names_every_kind_that_is_made_here():
    from typer.main import get_command

    from atomprint.api.corpora import _makers
    from atomprint.cli.corpus import app

    (help_,) = [p.help for p in get_command(app).commands["suggest"].params if "CORPUS" in
                (p.metavar or "")]  # fmt: skip
    assert all(kind in help_ for kind in _makers())
    assert _makers()


def test_suggest_takes_kinds(files, capsys, monkeypatch):
    def none(settings, workers, count):
        raise UsageError("needs a package")

    monkeypatch.setattr(import_module("atomprint.api.corpora"), "_sample", none)
    assert run(["corpus", "suggest", "--for", "a.parquet", "--json"]) == 0
    shown = capsys.readouterr()
    assert [one["name"] for one in json.loads(shown.out)["candidates"]] == ["embedded"]
    assert "slabs is passed over: needs a package" in shown.err
    assert "needs a package" in complaint(capsys, "suggest", "slabs", "--for", "a.parquet")
