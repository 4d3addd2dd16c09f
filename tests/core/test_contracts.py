import pytest

from stratum_git.core.contracts import breaches
from stratum_git.model.ids import Json
from stratum_git.model.spec import Field

FITS: list[tuple[str, list[Json]]] = [
    ("string", ["", "a"]),
    ("boolean", [True, False]),
    ("integer", [0, -3, 3.0]),
    ("number", [0, 1.5]),
    ("array", [[], [1]]),
    ("object", [{}, {"a": 1}]),
    ("PullRequest", [None, 1, "a", [], {}, True]),
]
EVERYTHING: list[Json] = ["", "a", True, False, 0, -3, 3.0, 1.5, [], [1], {}, {"a": 1}, None]
ALSO = {"number": [-3, 3.0]}


@pytest.mark.parametrize(("kind", "fitting"), FITS)
def test_a_field_has_its_type(kind: str, fitting: list[Json]) -> None:
    accepted = [*map(repr, fitting), *map(repr, ALSO.get(kind, []))]
    for value in EVERYTHING:
        found = breaches({"x": Field(kind)}, {"x": value})
        fits = kind == "PullRequest" or repr(value) in accepted
        assert (found == ()) is fits, value


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"ok": True, "n": 1}, ()),
        ({"ok": False, "n": 0, "more": [1]}, ()),
        ({"zzz": 1}, ("the result has no ok", "the result has no n")),
        ({"ok": 1}, ("the result has no n", "ok is 1, not of the type boolean")),
        (
            {"ok": None, "n": True},
            ("ok is null, not of the type boolean", "n is true, not of the type integer"),
        ),
        (None, ("the result is null, not an object with ok, n",)),
        ([1], ("the result is [1], not an object with ok, n",)),
        ("x" * 100, (f'the result is "{"x" * 56}..., not an object with ok, n',)),
    ],
)
def test_every_breach_is_a_sentence(value: Json, found: tuple[str, ...]) -> None:
    assert breaches({"ok": Field("boolean"), "n": Field("integer")}, value) == found


def test_a_field_may_be_limited_to_values() -> None:
    contract = {"verdict": Field("string", ("pass", "fail")), "any": Field("Word", (1, None))}
    assert breaches(contract, {"verdict": "pass", "any": None}) == ()
    assert breaches(contract, {"verdict": "maybe", "any": True}) == (
        'verdict is "maybe", not one of "pass", "fail"',
        "any is true, not one of 1, null",
    )
    assert breaches(contract, {"verdict": 1, "any": 1}) == ("verdict is 1, not of the type string",)


def test_a_contract_without_fields_still_wants_an_object() -> None:
    assert breaches({}, {}) == ()
    assert breaches({}, 1) == ("the result is 1, not an object with no fields",)
