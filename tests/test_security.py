"""Files of strangers are data: nothing that reads runs what it reads."""

import ast
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from atomprint.backbones import PaiNNSettings
from atomprint.ground.errors import DataError, UsageError
from atomprint.heads.model import Model, ModelSettings
from atomprint.heads.saved import ModelInfo, load_model, save_model
from atomprint.heads.target import Target
from atomprint.structures.reading import read_crystals

SOURCE = Path(__file__).parents[1] / "src" / "atomprint"

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("torch", "load"), ("torch", "hub"), ("jit", "load"), ("yaml", "load"), ("yaml", "load_all"),
    ("yaml", "unsafe_load"), ("yaml", "full_load"), ("pd", "read_pickle"), ("os", "system"),
}  # fmt: skip
ALLOWED = {
    # Ray's own messages: what this process has packed for a worker of its cluster.
    "fingerprints/streaming/on_ray.py": {"pickle"},
}


def dangers(tree):
    """Names of what could run code that a file holds."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} if str(node.module).split(".")[0] in MODULES else set()
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS:
                found.add(name)
            parts = tuple(name.split(".")[-2:])
            if parts in METHODS:
                found.add(name)
            if name.startswith("subprocess.") and any(k.arg == "shell" for k in node.keywords):
                found.add(name)
            for word in node.keywords:
                if word.arg == "allow_pickle" and ast.unparse(word.value) != "False":
                    found.add("allow_pickle")
                if word.arg == "weights_only" and ast.unparse(word.value) != "True":
                    found.add("weights_only")
            # Without the word NumPy refuses too, but nobody reading this would know.
            if parts == ("np", "load") and not any(k.arg == "allow_pickle" for k in node.keywords):
                found.add(name)
    return found


def test_nothing_that_reads_can_run_what_it_reads():
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        bad = dangers(ast.parse(path.read_text(encoding="utf-8"))) - ALLOWED.get(name, set())
        if bad:
            found[name] = bad
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "torch.load(p)", "yaml.load(t)", "eval(t)",
        "np.load(p)", "np.load(p, allow_pickle=True)", "exec(t)", "subprocess.run(c, shell=True)",
        "import joblib.numpy_pickle", "os.system(t)", "f(weights_only=False)",
    ],
)  # fmt: skip
def test_what_could_is_found(code):
    assert dangers(ast.parse(code))


def test_what_could_not_is_left_alone():
    code = "model.eval()\nyaml.safe_load(t)\nnp.load(p, allow_pickle=False)\njson.load(f)"
    assert not dangers(ast.parse(code))


SETTINGS = ModelSettings(backbone=PaiNNSettings(n_channels=4, n_layers=1, n_radial=2), n_hidden=4)


@pytest.fixture
def checkpoint(tmp_path):
    model = Model(SETTINGS, (Target(name="gap"),))
    save_model(tmp_path, model, model.state_dict(), ModelInfo("finetune", {}))
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        {"n_channels": 1_000_000}, {"n_channels": 10**12}, {"n_layers": 10**9},
        {"n_radial": 10**9}, {"n_layers": 2}, {"n_channels": 8},
    ],
)  # fmt: skip
def test_a_description_of_another_network_makes_none(checkpoint, change):
    """A few bytes of text could ask for more memory than there is."""
    meta = checkpoint / "model.json"
    described = json.loads(meta.read_text())
    described["settings"]["backbone"].update(change)
    meta.write_text(json.dumps(described))
    with pytest.raises(DataError, match="weights cannot be read"):
        load_model(checkpoint)


def test_a_header_that_claims_more_than_the_file_is_refused(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 2**62) + file.read_bytes()[8:])
    with pytest.raises(DataError, match="weights cannot be read"):
        load_model(checkpoint)


def test_weights_that_are_a_pickle_are_refused(checkpoint):
    torch.save({"a": torch.zeros(2)}, checkpoint / "model.safetensors")
    with pytest.raises(DataError, match="weights cannot be read"):
        load_model(checkpoint)


def test_deeply_nested_json_is_refused(checkpoint):
    (checkpoint / "model.json").write_text("[" * 100_000)
    with pytest.raises((DataError, UsageError), match="nested too deeply"):
        load_model(checkpoint)


POSCAR = "x\n1.0\n3 0 0\n0 3 0\n0 0 3\nNa\n1\nDirect\n0 0 0\n"


def test_archives_write_nothing_and_follow_no_links(tmp_path):
    """Members are read where they are, whatever they call themselves; links are no members."""
    inside, outside = tmp_path / "in", tmp_path / "secret.vasp"
    inside.mkdir()
    outside.write_text(POSCAR)
    with tarfile.open(inside / "a.tar", "w") as archive:
        member = tarfile.TarInfo("../../escaped.vasp")
        member.size = len(POSCAR)
        (inside / "p").write_text(POSCAR)
        with (inside / "p").open("rb") as file:
            archive.addfile(member, file)
        for kind, target in ((tarfile.SYMTYPE, str(outside)), (tarfile.LNKTYPE, "/etc/passwd")):
            link = tarfile.TarInfo(f"link{kind.decode()}.vasp")
            link.type, link.linkname = kind, target
            archive.addfile(link)
    with zipfile.ZipFile(inside / "b.zip", "w") as archive:
        archive.writestr("/../../other.vasp", POSCAR)
    (inside / "p").unlink()
    before = sorted(path for path in tmp_path.rglob("*"))
    result = read_crystals(inside)
    assert sorted(crystal.id for crystal in result.crystals) == ["escaped", "other"]
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_weights_of_the_wrong_kind_are_refused(checkpoint):
    save_file({"x": torch.zeros(1)}, checkpoint / "model.safetensors")
    with pytest.raises(DataError, match="weights cannot be read"):
        load_model(checkpoint)
