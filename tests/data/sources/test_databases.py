"""Databases with interfaces of their own: Materials Project, COD, and those published as files."""

import bz2
import gzip
import hashlib
import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atomprint.data.sources import (
    SOURCES,
    AlexandriaSettings,
    CodSettings,
    JarvisSettings,
    LematSettings,
    MatbenchSettings,
    MaterialsProjectSettings,
    matbench,
)
from atomprint.data.sources.jarvis import ARTICLES
from atomprint.evaluation.tasks import find_task
from atomprint.ground.errors import DataError, UsageError
from atomprint.structures.reading.elements import symbol_of
from tests.data.sources.answers import optimade_entry, pymatgen_dict, same
from tests.toy import toy_crystals

CRYSTALS = toy_crystals(12)


# --- Materials Project ---------------------------------------------------------------------------


@pytest.fixture
def materials_project(server, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "my-own-key")

    def page(query):
        skip, limit = int(query["_skip"]), int(query["_limit"])
        rows = [
            {"material_id": c.id, "structure": pymatgen_dict(c)} for c in CRYSTALS[skip:][:limit]
        ]
        return {"data": rows, "meta": {"total_doc": len(CRYSTALS), "max_limit": 1000}}

    server.answers["/materials/summary/"] = page
    return server


def test_materials_project(materials_project, get, tmp_path):
    source = MaterialsProjectSettings(
        base_url=materials_project.url, page_limit=5, query={"elements": "O", "is_stable": True}
    )
    found = get(source, tmp_path / "s")
    same(found.store, CRYSTALS)
    queries = [query for _, query in materials_project.asked]
    assert [query["_skip"] for query in queries] == ["0", "5", "10"]
    assert queries[0]["_fields"] == "material_id,structure"
    assert queries[0]["_sort_fields"] == "material_id"
    assert (queries[0]["elements"], queries[0]["is_stable"]) == ("O", "true")
    assert found.store.provenance[0].licence == "CC BY 4.0"


def test_the_key_goes_into_a_header_and_nowhere_else(materials_project, get, tmp_path):
    get(MaterialsProjectSettings(base_url=materials_project.url), tmp_path / "s")
    assert all(headers["X-Api-Key"] == "my-own-key" for headers in materials_project.headers)
    assert "my-own-key" not in str(materials_project.asked)
    for file in (tmp_path / "s").rglob("*"):
        assert not file.is_file() or b"my-own-key" not in file.read_bytes()


def test_without_a_key_nothing_is_asked(materials_project, get, tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(UsageError, match=r"needs a key: get one .*MP_API_KEY"):
        get(MaterialsProjectSettings(base_url=materials_project.url), tmp_path / "s")
    assert materials_project.asked == []
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_said(materials_project, get, tmp_path, status):
    materials_project.answers["/materials/summary/"] = lambda query: status
    with pytest.raises(UsageError, match="key in MP_API_KEY is not accepted"):
        get(MaterialsProjectSettings(base_url=materials_project.url), tmp_path / "s")


def test_pages_of_the_materials_project_end_without_a_total(materials_project, get, tmp_path):
    page = materials_project.answers["/materials/summary/"]
    materials_project.answers["/materials/summary/"] = lambda q: {"data": page(q)["data"]}
    source = MaterialsProjectSettings(base_url=materials_project.url, page_limit=6)
    same(get(source, tmp_path / "s").store, CRYSTALS)


# --- COD -----------------------------------------------------------------------------------------

CIF = """data_{number}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cs1 Cs 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 {occupancy}
"""


@pytest.fixture
def cod(server):
    numbers = [1000017, 1000002, 1000033, 9000004]
    server.answers["/result"] = lambda query: "\n".join(map(str, numbers)).encode()
    for row, number in enumerate(numbers):
        text = CIF.format(number=number, a=4.0 + 0.1 * row, occupancy=0.5 if row == 2 else 1)
        server.answers[f"/{number}.cif"] = lambda query, text=text: text.encode()
    return server


def test_cod(cod, get, tmp_path):
    source = CodSettings(base_url=cod.url, query={"el1": "Cs", "strictmax": 2})
    found = get(source, tmp_path / "s")
    assert [c.id for c in found.store] == ["cod-1000002", "cod-1000017", "cod-9000004"]
    assert found.store[0].formula == "CsCl"
    assert [(p.id, p.kind) for p in found.problems] == [("cod-1000033", "disorder")]
    assert cod.asked[0] == ("/result", {"el1": "Cs", "strictmax": "2", "format": "lst"})
    assert found.store.provenance[0].licence == "CC0"


def test_a_withdrawn_entry_of_cod_is_left_out(cod, get, tmp_path):
    del cod.answers["/1000017.cif"]
    found = get(CodSettings(base_url=cod.url, query={"el1": "Cs"}), tmp_path / "s")
    assert [c.id for c in found.store] == ["cod-1000002", "cod-9000004"]
    assert "withdrawn" in next(p.reason for p in found.problems if p.id == "cod-1000017")


def test_a_list_of_cod_that_grew_is_gone_on_with(cod, get, tmp_path):
    source = CodSettings(base_url=cod.url, query={"el1": "Cs"})
    get(source, tmp_path / "s", n=2)
    new = 1000001, 7000000
    old = cod.answers["/result"]({}).decode()
    cod.answers["/result"] = lambda query: f"{old}\n{new[0]}\n{new[1]}".encode()
    text = CIF.format(number=1, a=5.0, occupancy=1).encode()
    cod.answers |= {f"/{number}.cif": lambda query: text for number in new}
    ids = [c.id for c in get(source, tmp_path / "s").store]
    assert ids == ["cod-1000002", "cod-1000017", "cod-7000000", "cod-9000004"]


def test_numbers_of_cod_from_a_file(cod, get, tmp_path):
    (tmp_path / "list").write_text("9000004\n1000002\n")
    found = get(CodSettings(base_url=cod.url, numbers=str(tmp_path / "list")), tmp_path / "s")
    assert [c.id for c in found.store] == ["cod-1000002", "cod-9000004"]
    assert [path for path, _ in cod.asked] == ["/1000002.cif", "/9000004.cif"]


def test_an_answer_of_cod_that_is_no_list_is_said(cod, get, tmp_path):
    cod.answers["/result"] = lambda query: b"<html>Too many results</html>"
    with pytest.raises(DataError, match="is no number of COD"):
        get(CodSettings(base_url=cod.url, query={"el1": "Cs"}), tmp_path / "s")
    cod.answers["/result"] = lambda query: b""
    with pytest.raises(DataError, match="lists no crystal"):
        get(CodSettings(base_url=cod.url, query={"el1": "Cs"}), tmp_path / "s")


# --- published as files --------------------------------------------------------------------------


def serve_matbench(server, monkeypatch):
    table = {
        "index": list(range(len(CRYSTALS))),
        "columns": ["structure", "e_form"],
        "data": [[pymatgen_dict(c), 1.5] for c in CRYSTALS],
    }
    content = gzip.compress(json.dumps(table).encode())
    server.answers["/matbench_perovskites.json.gz"] = lambda query: content
    known = (len(CRYSTALS), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(matbench.FILES, "perovskites", known)
    ids = [f"mb-perovskites-{row:02d}" for row in range(1, len(CRYSTALS) + 1)]
    return MatbenchSettings(name="perovskites", base_url=server.url), ids


def serve_jarvis(server, monkeypatch):
    entries = [
        {
            "jid": f"JVASP-{row}",
            "formula": c.formula,
            "atoms": {
                "lattice_mat": c.cell.tolist(),
                "coords": (c.positions if row % 2 else c.frac).tolist(),
                "elements": [f"{symbol_of(int(z))} " for z in c.numbers],
                "cartesian": bool(row % 2),
                "props": [""] * c.n_atoms,
            },
        }
        for row, c in enumerate(CRYSTALS)
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("jdft_3d-12-12-2022.json", json.dumps(entries))
    content = packed.getvalue()

    def article(query):
        common = {"is_link_only": False, "supplied_md5": "", "size": len(content)}
        url = f"{server.url}/files/38521619"
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        new = {"id": 38521619, "name": "new.json.zip", "download_url": url, "computed_md5": md5}
        old = {"id": 1, "name": "old.json.zip", "download_url": f"{server.url}/nowhere"}
        picture = {"id": 99999999, "name": "figure.png", "download_url": f"{server.url}/nowhere"}
        return {
            "id": ARTICLES["dft_3d"],
            "license": {"value": 1, "name": "CC BY 4.0", "url": ""},
            "citation": "Choudhary, Kamal (2022)",
            "files": [{**common, **file} for file in (old, new, picture)],
        }

    server.answers[f"/articles/{ARTICLES['dft_3d']}"] = article
    server.answers["/files/38521619"] = lambda query: content
    ids = [f"JVASP-{row}" for row in range(len(CRYSTALS))]
    return JarvisSettings(base_url=server.url), ids


def serve_alexandria(server, monkeypatch):
    links = ""
    for number in range(3):
        part = CRYSTALS[4 * number : 4 * number + 4]
        entries = [
            {
                "@module": "pymatgen.entries.computed_entries",
                "@class": "ComputedStructureEntry",
                "energy": -3.0,
                "data": {"mat_id": c.id, "formula": c.formula},
                "structure": pymatgen_dict(c),
            }
            for c in part
        ]
        name = f"alexandria_00{number}.json.bz2"
        content = bz2.compress(json.dumps({"entries": entries}).encode())
        server.answers[f"/pbe/2025.07.02/{name}"] = lambda query, content=content: content
        links = f'<a href="{name}">{name}</a> 2025-07-02\n{links}'
    page = f'<html><a href="../">Parent</a>\n{links}<a href="readme.txt">readme</a></html>'
    server.answers["/pbe/2025.07.02/"] = lambda query: page.encode()
    return AlexandriaSettings(base_url=server.url), [c.id for c in CRYSTALS]


def serve_lemat(server, monkeypatch):
    commit, files = "4ad33c89e64b2604360d196cc234f912bc6720c0", []
    for number in range(2):
        rows = []
        for crystal in CRYSTALS[6 * number : 6 * number + 6]:
            row = optimade_entry(crystal)["attributes"]
            # The data set keeps species as text.
            rows.append({**row, "species": json.dumps(row["species"]), "immutable_id": crystal.id})
        packed = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), packed)
        content = packed.getvalue()
        path = f"compatible_pbe/train-0000{number}-of-00002.parquet"
        oid = hashlib.sha256(content).hexdigest()
        files.append({"type": "file", "oid": "0" * 40, "size": len(content), "path": path,
                      "lfs": {"oid": oid, "size": len(content), "pointerSize": 134}})  # fmt: skip
        place = f"/datasets/LeMaterial/LeMat-Bulk/resolve/{commit}/{path}"
        server.answers[place] = lambda query, content=content: content
    api = "/api/datasets/LeMaterial/LeMat-Bulk"
    server.answers[f"{api}/revision/main"] = lambda query: {"id": "x", "sha": commit}
    listed = [*files[::-1], {"type": "file", "path": "README.md"}]
    server.answers[f"{api}/tree/{commit}/compatible_pbe"] = lambda query: listed
    return LematSettings(base_url=server.url), [c.id for c in CRYSTALS]


PUBLISHED = [serve_matbench, serve_jarvis, serve_alexandria, serve_lemat]


@pytest.mark.parametrize("serve", PUBLISHED)
def test_published_files(server, get, tmp_path, monkeypatch, serve):
    source, ids = serve(server, monkeypatch)
    found = get(source, tmp_path / "s")
    same(found.store, CRYSTALS, ids)
    assert found.exhausted
    assert not found.problems
    assert all(part.source and part.licence and part.citation for part in found.store.provenance)
    # Nothing of what was downloaded is left.
    assert not (tmp_path / "s" / ".downloads").exists()


@pytest.mark.parametrize("serve", PUBLISHED)
def test_published_files_in_two_goes(server, get, tmp_path, monkeypatch, serve):
    source, ids = serve(server, monkeypatch)
    get(source, tmp_path / "s", n=7)
    found = get(source, tmp_path / "s")
    same(found.store, CRYSTALS, ids)
    assert found.resumed == 7


@pytest.mark.parametrize("serve", [serve_matbench, serve_jarvis, serve_lemat])
def test_a_file_with_another_checksum_is_refused(server, get, tmp_path, monkeypatch, serve):
    source, _ = serve(server, monkeypatch)
    changed = [path for path in server.answers if path.endswith((".gz", ".parquet"))]
    changed += [path for path in server.answers if path.startswith("/files/")]
    for path in changed:
        content = server.answers[path]({})
        server.answers[path] = lambda query, content=content: content[:-1] + b"?"
    with pytest.raises(DataError, match="not the file that it should be"):
        get(source, tmp_path / "s")


def test_a_damaged_file_without_checksum_is_named(server, get, tmp_path, monkeypatch):
    source, _ = serve_alexandria(server, monkeypatch)
    path = "/pbe/2025.07.02/alexandria_001.json.bz2"
    whole = bz2.decompress(server.answers[path]({}))
    server.answers[path] = lambda query: bz2.compress(whole[: len(whole) // 2])
    found = get(source, tmp_path / "s")
    assert {c.id for c in CRYSTALS[:4] + CRYSTALS[8:]} <= {c.id for c in found.store}
    (problem,) = found.problems
    assert problem.file.endswith("alexandria_001.json.bz2")
    assert "no sound JSON" in problem.reason


def test_a_release_that_is_not_there_is_said(server, get, tmp_path, monkeypatch):
    source, _ = serve_alexandria(server, monkeypatch)
    with pytest.raises(DataError, match="answers 404"):
        get(source.model_copy(update={"version": "2099.01.01"}), tmp_path / "s")
    server.answers["/pbe/2025.07.02/"] = lambda query: b"<html>moved</html>"
    with pytest.raises(DataError, match=r"lists no \.json\.bz2"):
        get(source, tmp_path / "s")


def test_a_fetch_of_lemat_stays_with_its_commit(server, get, tmp_path, monkeypatch):
    source, ids = serve_lemat(server, monkeypatch)
    get(source, tmp_path / "s", n=7)
    api = "/api/datasets/LeMaterial/LeMat-Bulk/revision/main"
    server.answers[api] = lambda query: {"sha": "another"}
    same(get(source, tmp_path / "s").store, CRYSTALS, ids)


def test_checksums_of_matbench_are_those_of_the_tasks():
    for name, (n_crystals, checksum) in matbench.FILES.items():
        task = find_task(name)
        assert (task.n_crystals, task.sha256) == (n_crystals, checksum)
        assert task.url == f"{MatbenchSettings().base_url}/matbench_{name}.json.gz"
    assert MatbenchSettings(name="phonons")._read  # the names of the settings are these


def test_every_source_says_what_it_is():
    for kind, source in SOURCES.items():
        card = source.card
        for text in (card.title, card.domain, card.size, card.licence, card.citation):
            assert text, kind
