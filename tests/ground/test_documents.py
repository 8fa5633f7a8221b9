import datetime

import pytest

from atomprint.ground.documents import MAX_VALUES, json_of, yaml_of

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


def test_plain_values_come_back():
    assert yaml_of("a: {b: [1, 2.5, yes, null, text]}") == {
        "a": {"b": [1, 2.5, True, None, "text"]}
    }
    assert yaml_of("") is None
    assert yaml_of("x: &one {k: 1}\ny: *one\nz: {<<: *one, m: 2}")["z"] == {"k": 1, "m": 2}
    assert yaml_of("2026-11-27") == datetime.date(2026, 11, 27)
    assert json_of('{"a": [1, NaN]}')["a"][0] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: [1", "expected"),
        ("a: \x08", "special characters are not allowed"),
        ("2001-99-99", "month"),
        ("? [a, b]\n: 1", "unhashable"),
        ("&a [*a]", "a part of"),
        ("[" * 3000, "too deeply"),
        (LAUGHS, "aliases stand for"),
        ("!!int ''", "cannot be read"),
        ("!!timestamp x", "cannot be read"),
    ],
)
def test_what_is_no_document_is_a_value_error(text, reason):
    with pytest.raises(ValueError, match=reason):
        yaml_of(text)


@pytest.mark.parametrize("text", ["{", "[" * 200_000, b"\xff\xfe", ""])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        json_of(text)


def test_long_documents_are_read():
    assert len(yaml_of("[" + "1, " * 5_000 + "]")) == 5_000
    assert MAX_VALUES > 100_000
