"""The page for users of other programs: both calls of each section give the same numbers.

A section has the other program's block, which sets ``theirs``, ours, which sets ``ours``, and how
far they may differ. Where the other program is not installed only ours runs, here and among the
examples of all pages, and the comparison is skipped.
"""

import importlib.metadata
import re
import sys
import types
from pathlib import Path

import ase
import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
SECTION = re.compile(
    r"^## (?P<title>[^\n]+)\n\n"
    r"<!-- no-test: needs (?P<package>\w+) -->\n```python\n(?P<theirs>.*?)^```\n\n"
    r"```python\n(?P<ours>.*?)^```\n\n<!-- equal to (?P<tolerance>\S+) -->$",
    re.M | re.S,
)


def sections():
    text = PAGE.read_text(encoding="utf-8")
    start = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1]
    return [(match, start) for match in SECTION.finditer(text)]


def load_pyxtal():
    """Let one module of pyxtal_ff be imported without all that the package asks for."""
    where = Path(importlib.metadata.distribution("pyxtal_ff").locate_file("pyxtal_ff"))
    for name, path in (("pyxtal_ff", where), ("pyxtal_ff.descriptors", where / "descriptors")):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules.setdefault(name, module)


def test_every_section_has_both_calls():
    text = PAGE.read_text(encoding="utf-8")
    assert len(sections()) == text.count("<!-- no-test: needs") == text.count("<!-- equal to") > 7


@pytest.mark.parametrize(("section", "start"), sections(), ids=[s["title"] for s, _ in sections()])
def test_both_calls_give_the_same_numbers(section, start):
    package = section["package"]
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed; only our side of the page is run")
    if package == "pyxtal_ff":
        load_pyxtal()
    many_body = "MBTR" in section["title"] or "Oganov" in section["title"]
    if many_body and tuple(map(int, ase.__version__.split(".")[:2])) > (3, 26):
        pytest.skip("dscribe fails on it with this ASE; only our side of the page is run")
    names = {}
    for code in (start, section["theirs"], section["ours"]):
        exec(compile(code, f"{PAGE.name}: {section['title']}", "exec"), names)
    ours, theirs = np.asarray(names["ours"]), np.asarray(names["theirs"])
    assert ours.shape == theirs.shape
    gap = np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)
    assert gap.max() < float(section["tolerance"]), f"{section['title']}: {gap.max():.1e}"
