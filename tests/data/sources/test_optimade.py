"""OPTIMADE: pages, faults, what is left out, and going on."""

import pytest

from atomprint.data.sources import OptimadeSettings, OqmdSettings
from atomprint.ground.errors import DataError
from tests.data.sources.answers import optimade_entry, optimade_pages, same
from tests.toy import toy_crystals

CRYSTALS = toy_crystals(10)
ENTRIES = [optimade_entry(crystal) for crystal in CRYSTALS]


def optimade(server, **settings):
    return OptimadeSettings(base_url=server.url, **settings)


@pytest.mark.parametrize("link", ["text", "object"])
def test_all_pages_come_in_order(server, get, tmp_path, link):
    optimade_pages(server, ENTRIES, link=link)
    found = get(optimade(server, filter='elements HAS "O"', page_limit=4), tmp_path / "s")
    same(found.store, CRYSTALS)
    assert found.exhausted
    pages = [query for path, query in server.asked if path == "/v1/structures"]
    assert len(pages) == 3
    assert pages[0]["filter"] == 'elements HAS "O"'
    assert pages[0]["page_limit"] == "4"
    assert {"id", "species_at_sites"} <= set(pages[0]["response_fields"].split(","))


def test_terms_and_provider_are_recorded(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    (part,) = get(optimade(server, citation="Toy et al."), tmp_path / "s").store.provenance
    assert part.source == f"Toy provider, by OPTIMADE ({server.url}/v1)"
    assert part.licence == "CC-BY-4.0"
    assert part.citation.startswith("Toy et al.; C. W. Andersen")


def test_a_licence_that_nobody_states_is_said_to_be_missing(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    server.answers["/v1/info"] = lambda query: {"data": {"attributes": {"license": None}}}
    (part,) = get(optimade(server), tmp_path / "s").store.provenance
    assert part.licence == "not stated by the provider"


def test_faults_are_waited_out(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    server.plan = ["ok", "429", "500", "ok", "cut", "half", "ok", "503", "wait:0.3"]
    same(get(optimade(server), tmp_path / "s").store, CRYSTALS)
    assert server.plan == []


def test_a_server_that_stays_broken_is_named(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    server.plan = ["ok", "ok", "500", "500", "500"]
    with pytest.raises(DataError, match=r"/v1/structures: the server answers 500 .*3 times in a"):
        get(optimade(server), tmp_path / "s")
    # What was asked for in vain comes with the next call.
    same(get(optimade(server), tmp_path / "s").store, CRYSTALS)


def test_a_filter_that_is_not_understood_is_explained_by_the_server(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    server.answers["/v1/structures"] = lambda query: 400
    with pytest.raises(DataError, match=r"answers 400 \(Bad Request\): no /v1/structures here"):
        get(optimade(server, filter="nonsense"), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert len(server.asked) == 2


def test_what_is_no_ordered_crystal_is_left_out_and_named(server, get, tmp_path):
    species = [{"name": "M", "chemical_symbols": ["Li", "Na"], "concentration": [0.5, 0.5]}]
    empty = [{"name": "M", "chemical_symbols": ["Li", "vacancy"], "concentration": [0.5, 0.5]}]
    methyl = [{"name": "M", "chemical_symbols": ["C"], "concentration": [1.0], "attached": ["H"],
               "nattached": [3]}]  # fmt: skip
    first = CRYSTALS[0]
    sites = ["M"] * first.n_atoms
    bad = {
        "shared": optimade_entry(first, species=species, species_at_sites=sites),
        "empty": optimade_entry(first, species=empty, species_at_sites=sites),
        "attached": optimade_entry(first, species=methyl, species_at_sites=sites),
        "flagged": optimade_entry(first, structure_features=["disorder"]),
        "layer": optimade_entry(first, dimension_types=[1, 1, 0]),
        "flat": optimade_entry(first, lattice_vectors=[[1, 0, 0], [2, 0, 0], [0, 0, 1]]),
        "boxless": optimade_entry(first, lattice_vectors=[[1, 0, 0], [0, 1, 0], [None] * 3]),
        "null": optimade_entry(first, cartesian_site_positions=None),
        "text": optimade_entry(first, cartesian_site_positions="all over the place"),
        "short": optimade_entry(first, cartesian_site_positions=[[0, 0, 0]]),
        "unknown": optimade_entry(first, species_at_sites=["X"] * first.n_atoms, species=None),
    }
    for id, entry in bad.items():
        entry["id"] = id
    without_id = {k: v for k, v in optimade_entry(first).items() if k != "id"}
    optimade_pages(server, [*bad.values(), "no entry", without_id, *ENTRIES])
    found = get(optimade(server), tmp_path / "s")
    same(found.store, CRYSTALS)
    kinds = {problem.id: problem.kind for problem in found.problems}
    assert kinds == {
        "shared": "disorder", "empty": "disorder", "attached": "disorder", "flagged": "disorder",
        "layer": "pbc", "flat": "cell", "boxless": "cell", "null": "coordinates",
        "text": "coordinates", "short": "coordinates", "unknown": "element",
        "without an id": "broken",
    }  # fmt: skip
    assert len(found.problems) == len(bad) + 2
    assert (tmp_path / "s" / "quarantine.jsonl").read_text().count("\n") == len(bad) + 2


def test_species_may_have_other_names_than_elements(server, get, tmp_path):
    crystal = CRYSTALS[0]
    names = [f"site{i}" for i in range(crystal.n_atoms)]
    symbols = optimade_entry(crystal)["attributes"]["species_at_sites"]
    species = [
        {"name": name, "chemical_symbols": [symbol, "vacancy"], "concentration": [1.0, 0.0]}
        for name, symbol in zip(names, symbols, strict=True)
    ]
    optimade_pages(server, [optimade_entry(crystal, species=species, species_at_sites=names)])
    same(get(optimade(server), tmp_path / "s").store, [crystal])


def test_pages_that_lead_back_are_a_fault(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    page = server.answers["/v1/structures"]

    def loop(query):
        answer = page(query)
        if answer["links"]["next"] is None:
            answer["links"]["next"] = f"{server.url}/v1/structures?page_offset=4&page_limit=4"
        return answer

    server.answers["/v1/structures"] = loop
    with pytest.raises(DataError, match="next page is one that was read before"):
        get(optimade(server), tmp_path / "s")
    assert len(server.asked) < 10


@pytest.mark.parametrize("rows", [ENTRIES[:2], []])
def test_pages_without_end_are_a_fault(server, get, tmp_path, rows):
    optimade_pages(server, ENTRIES)

    def endless(query):
        following = int(query.get("page_offset", 0)) + 2
        return {
            "data": rows,
            "links": {"next": f"{server.url}/v1/structures?page_offset={following}"},
            "meta": {},
        }

    server.answers["/v1/structures"] = endless
    with pytest.raises(DataError, match="page follows page without anything new"):
        get(optimade(server), tmp_path / "s")
    assert len(server.asked) < 20


def test_something_else_at_the_address_is_said(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    server.answers["/v1/structures"] = lambda query: {"hello": "world"}
    with pytest.raises(DataError, match=r"not OPTIMADE's .*check base_url"):
        get(optimade(server), tmp_path / "s")


def test_a_pause_that_an_answer_asks_for_is_kept(server, get, tmp_path):
    optimade_pages(server, ENTRIES)
    page = server.answers["/v1/structures"]

    def patient(query):
        answer = page(query)
        answer["meta"]["request_delay"] = 0.2
        return answer

    server.answers["/v1/structures"] = patient
    get(optimade(server), tmp_path / "s")
    gaps = [b - a for a, b in zip(server.times[1:], server.times[2:], strict=False)]
    assert min(gaps) >= 0.19


def test_the_version_in_an_address_is_kept(server):
    assert OptimadeSettings(base_url="https://a.org/x/").root == "https://a.org/x/v1"
    assert OptimadeSettings(base_url="https://a.org/v1.1/").root == "https://a.org/v1.1"


def test_numbers_of_oqmd_become_ids_of_its_own(server, get, tmp_path):
    entries = [{**entry, "id": str(row)} for row, entry in enumerate(ENTRIES)]
    optimade_pages(server, entries)
    found = get(OqmdSettings(base_url=server.url), tmp_path / "s", n=3)
    same(found.store, CRYSTALS[:3], [f"oqmd-{row}" for row in range(3)])
    assert found.store.provenance[0].licence == "CC BY 4.0"
    assert not found.exhausted
