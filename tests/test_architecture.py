"""The house keeps its shape: who may import whom, what no room is called, who may print."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

FLOORS = (
    {"ground"},
    {"structures"},
    {"fingerprints", "nn"},
    {"backbones"},
    {"heads"},
    {"objectives", "data"},
    {"training"},
    {"evaluation"},
    {"api"},
    {"cli"},
)
"""Rooms of one floor a row, from the ground up."""

ONLY = {"data": {"structures", "ground"}, "backbones": {"nn", "structures", "ground"}}
"""Rooms that may import less than everything below them."""

FORBIDDEN_NAMES = {"utils", "util", "common", "tools", "helpers"}


def may_import(importer, imported):
    """Whether one room may import another; ``testing`` stands beside the house, below api."""
    if importer == imported:
        return True
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    if imported == "testing":
        return False
    if importer == "testing":
        return floor[imported] < floor["api"]
    return floor[imported] < floor[importer] and imported in ONLY.get(importer, floor)


def modules(source):
    """(room, path) of every module of the package; the package's own __init__ has the room ''."""
    package = source / "atomprint"
    for path in sorted(package.rglob("*.py")):
        first = path.relative_to(package).parts[0]
        yield "" if first == "__init__.py" else first.removesuffix(".py"), path


def imports(path, source):
    """(line, dotted name) of all that a module imports when it runs, inside functions too."""
    own = path.relative_to(source).with_suffix("").parts
    # A package's __init__ is its own level; of a module, the package around it.
    package = own[:-1]
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield node.lineno, f"{start}.{alias.name}"
        elif is_import_call(node):
            yield node.lineno, node.args[0].value


def running(node):
    """Every node below, but for what stands under ``if TYPE_CHECKING``."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
        children = node.orelse
    for child in children:
        yield from running(child)


def is_import_call(node):
    """``importlib.import_module("...")`` or ``__import__("...")`` of a name in quotes."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return False
    called = ast.unparse(node.func).split(".")[-1]
    return called in ("import_module", "__import__") and isinstance(node.args[0].value, str)


def wrong_imports(source):
    """Sentences on every import of a room that the importing room may not import."""
    known = set().union(*FLOORS) | {"testing"}
    found = []
    for room, path in modules(source):
        for line, name in imports(path, source):
            parts = name.split(".")
            if parts[0] != "atomprint":
                continue
            imported = parts[1] if len(parts) > 1 else "__version__"
            if imported == "__version__":
                continue
            if imported not in known:
                imported = "api"  # the package itself hands on the verbs of api
            # The package's own file, which has no room, hands on the verbs and no more.
            if imported != "api" if room == "" else not may_import(room, imported):
                where = f"{path.relative_to(source)}:{line}"
                found.append(f"{where}: {room or 'atomprint'} imports {imported}")
    return sorted(set(found))


def unknown_rooms(source):
    """Rooms that stand on no floor."""
    known = set().union(*FLOORS) | {"testing", "", "__main__"}
    return sorted({room for room, _ in modules(source)} - known)


def bad_names(source):
    """Modules and folders whose name says nothing."""
    package = source / "atomprint"
    parts = {
        path.relative_to(source): {*path.relative_to(package).parts[:-1], path.stem}
        for path in package.rglob("*.py")
    }
    return sorted(str(path) for path, names in parts.items() if names & FORBIDDEN_NAMES)


def prints(source):
    """Places outside the command line that call ``print``."""
    return [
        f"{path.relative_to(source)}:{node.lineno}"
        for room, path in modules(source)
        if room != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def loaded_by_import(source):
    """Names of all modules that ``import atomprint`` loads, in a fresh interpreter."""
    code = "import sys, atomprint; print(*sys.modules)"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_room_imports_only_rooms_below_it():
    assert wrong_imports(SOURCE) == []


def test_every_room_has_a_floor():
    assert unknown_rooms(SOURCE) == []


def test_no_room_has_a_name_that_says_nothing():
    assert bad_names(SOURCE) == []


def test_only_the_command_line_prints():
    assert prints(SOURCE) == []


def test_importing_the_package_does_not_import_torch():
    assert "torch" not in loaded_by_import(SOURCE)


def test_there_is_something_to_check():
    rooms = {room for room, _ in modules(SOURCE)}
    assert {"ground", "structures", "backbones", "testing"} <= rooms
    names = [name for _, path in modules(SOURCE) for _, name in imports(path, SOURCE)]
    assert sum(name.startswith("atomprint.") for name in names) > 100


def house(folder, **files):
    """A small package; files are named room__module."""
    for name, text in {"__init__": "", **files}.items():
        path = folder / "atomprint" / (name.replace("__", "/") if "__init" not in name else name)
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("structures__crystal", "from atomprint.heads import Head"),
        ("structures__crystal", "import atomprint.heads.head"),
        ("structures__crystal", "from atomprint import heads"),
        ("structures__crystal", "def f():\n    from atomprint.heads import Head\n"),
        ("structures__crystal", "from ..heads import Head"),
        ("structures__crystal", "from .. import heads"),
        ("structures__crystal", "import importlib\nimportlib.import_module('atomprint.heads')"),
        ("nn__radial", "from atomprint.fingerprints.base import Fingerprint"),
        ("fingerprints__rdf", "from atomprint.nn.radial import BesselBasis"),
        ("data__store", "from atomprint.heads import Head"),
        ("data__store", "from atomprint.objectives import Objective"),
        ("objectives__loss", "from atomprint.data import Store"),
        ("backbones__painn", "from atomprint.fingerprints.base import Fingerprint"),
        ("training__loop", "from atomprint.testing import check"),
        ("training__loop", "if not TYPE_CHECKING:\n    import atomprint.cli"),
        ("training__loop", "if TYPE_CHECKING:\n    pass\nelse:\n    import atomprint.cli"),
        ("evaluation__report", "from atomprint.api import fingerprint"),
        ("testing__laws", "from atomprint.api import fingerprint"),
        ("testing__laws", "from atomprint.cli import main"),
        ("training__loop", "from atomprint import fingerprint"),
        ("api", "from atomprint.cli import main"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, file, text):
    assert len(wrong_imports(house(tmp_path, **{file: text}))) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("heads__head", "from atomprint.backbones import Backbone"),
        ("heads__head", "from atomprint.heads.metrics import mae\nfrom . import metrics"),
        ("objectives__loss", "from atomprint.heads import Head"),
        ("data__store", "from atomprint.structures import Crystal\nimport numpy"),
        ("structures__crystal", "if TYPE_CHECKING:\n    from atomprint.heads import Head"),
        ("structures__crystal", "if typing.TYPE_CHECKING:\n    from atomprint.heads import Head"),
        ("structures__crystal", "from atomprint import __version__"),
        ("testing__laws", "from atomprint.evaluation import twin"),
        ("cli__main", "from atomprint import api"),
        ("api", "from atomprint.evaluation import twin"),
    ],
)
def test_a_right_import_is_left_alone(tmp_path, file, text):
    assert wrong_imports(house(tmp_path, **{file: text})) == []


def test_the_package_itself_hands_on_api_only(tmp_path):
    assert not wrong_imports(house(tmp_path, __init__="from atomprint.api import fingerprint"))
    assert wrong_imports(house(tmp_path, __init__="from atomprint.heads import Head"))


def test_an_unknown_room_is_found(tmp_path):
    assert unknown_rooms(house(tmp_path, attic__box="")) == ["attic"]


@pytest.mark.parametrize("file", ["utils__a", "data__utils", "data__common__a", "helpers"])
def test_a_name_that_says_nothing_is_found(tmp_path, file):
    assert len(bad_names(house(tmp_path, **{file: ""}))) == 1


def test_a_print_is_found(tmp_path):
    files = {"data__store": "def f():\n    print(1)\n", "cli__main": "print(1)"}
    assert prints(house(tmp_path, **files)) == [str(Path("atomprint/data/store.py:2"))]


def test_an_import_of_torch_is_found(tmp_path):
    (tmp_path / "torch.py").write_text("")
    assert "torch" in loaded_by_import(house(tmp_path, __init__="import torch"))
    assert "torch" not in loaded_by_import(house(tmp_path, __init__=""))
