"""docs/reading.md: its examples run, and its tables are those of the measured JSON."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")


def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = re.sub(r"<!-- no-test: [^>]*-->\n```python\n.*?```", "", PAGE, flags=re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    exec(compile("\n".join(blocks), "docs/reading.md", "exec"), {})
    printed = [line for line in blocks[0].splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == [line[2:] for line in printed]


def test_tables_are_the_measured_ones():
    pytest.importorskip("pymatgen.core", reason="the script that renders them needs pymatgen")
    path = ROOT / "benchmarks" / "reading_real_files.py"
    spec = importlib.util.spec_from_file_location("reading_real_files", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    measured = json.loads(script.RESULT.read_text(encoding="utf-8"))
    between = PAGE.split(script.BEGIN)[1].split(script.END)[0].strip()
    assert between == script.tables(measured)


def test_every_kind_of_problem_is_explained():
    from atomprint.structures.reading import KINDS

    for kind in KINDS:
        assert f"`{kind}`" in PAGE
