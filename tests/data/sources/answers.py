"""Crystals in the formats in which databases give them out; written from their documentation."""

import numpy as np

from atomprint.structures.reading.elements import symbol_of


def optimade_entry(crystal, **changes):
    """An entry of type ``structures``, as the specification 1.2 describes it."""
    symbols = [symbol_of(int(z)) for z in crystal.numbers]
    attributes = {
        "lattice_vectors": crystal.cell.tolist(),
        "cartesian_site_positions": crystal.positions.tolist(),
        "species_at_sites": symbols,
        "species": [
            {"name": symbol, "chemical_symbols": [symbol], "concentration": [1.0]}
            for symbol in sorted(set(symbols))
        ],
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "elements": sorted(set(symbols)),
        "nelements": len(set(symbols)),
        "nsites": len(symbols),
        "structure_features": [],
        "last_modified": "2019-06-08T05:13:37Z",
    }
    return {"type": "structures", "id": crystal.id, "attributes": {**attributes, **changes}}


def optimade_pages(server, entries, size=4, path="/v1/structures", link="text"):
    """Serve entries in pages with links to the next, as texts or as objects."""

    def page(query):
        start = int(query.get("page_offset", 0))
        url = f"{server.url}{path}?page_offset={start + size}&page_limit={size}"
        following = url if start + size < len(entries) else None
        if link == "object" and following:
            following = {"href": following, "meta": {}}
        return {
            "data": entries[start : start + size],
            "links": {"next": following, "base_url": server.url},
            "meta": {
                "data_returned": len(entries),
                "data_available": len(entries),
                "more_data_available": following is not None,
                "provider": {"name": "Toy provider", "prefix": "toy"},
            },
        }

    server.answers[path] = page
    server.answers["/v1/info"] = lambda query: {
        "data": {"type": "info", "id": "/", "attributes": {"available_licenses": ["CC-BY-4.0"]}},
        "meta": {"provider": {"name": "Toy provider", "prefix": "toy"}},
    }


def pymatgen_dict(crystal):
    """A structure as pymatgen's ``as_dict`` writes it."""
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": crystal.cell.tolist(), "pbc": [True, True, True]},
        "sites": [
            {
                "species": [{"element": symbol_of(int(z)), "occu": 1}],
                "abc": frac.tolist(),
                "xyz": position.tolist(),
                "label": symbol_of(int(z)),
                "properties": {},
            }
            for z, frac, position in zip(
                crystal.numbers, crystal.frac, crystal.positions, strict=True
            )
        ],
    }


def same(store, crystals, ids=None):
    """Assert that a store holds these crystals in this order, without labels."""
    assert [c.id for c in store] == (ids or [c.id for c in crystals])
    for found, wanted in zip(store, crystals, strict=True):
        np.testing.assert_array_equal(found.numbers, wanted.numbers)
        np.testing.assert_allclose(found.cell, wanted.cell, atol=1e-5)
        difference = (found.positions - wanted.positions) @ np.linalg.inv(wanted.cell)
        np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-5)
        assert not found.labels
