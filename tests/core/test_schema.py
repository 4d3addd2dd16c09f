import time

import pytest

from stratum_git.core.schema import schema_breaches, schema_problem
from stratum_git.model.ids import Json

PERSON: dict[str, Json] = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
LIST: dict[str, Json] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["v"]}
    },
}
ENDLESS = "output_schema is too much work for this value; perhaps it refers to itself without end"


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        ({}, 1, ()),
        (PERSON, {"name": "Ada"}, ()),
        (PERSON, {"name": "Ada", "age": -1}, ("age: -1 is less than the minimum of 0",)),
        (
            PERSON,
            {"age": "x", "z": 1},
            (
                "Additional properties are not allowed ('z' was unexpected)",
                "'name' is a required property",
                "age: 'x' is not of type 'integer'",
            ),
        ),
        (LIST, {"v": 1, "next": {"v": 2}}, ()),
        (LIST, {"v": 1, "next": {"next": {}}}, ("next: 'v' is a required property",) * 1),
    ],
)
def test_each_breach_is_a_sentence(schema: dict[str, Json], value: Json, found: tuple[str, ...]) -> None:
    assert set(found) <= set(schema_breaches(schema, value))
    assert bool(found) is bool(schema_breaches(schema, value))


def test_only_the_first_breaches_are_told_and_in_short() -> None:
    found = schema_breaches({"items": {"type": "string"}}, [["x" * 1000]] * 50)
    assert len(found) == 10
    assert all(len(line) <= 300 for line in found)


@pytest.mark.parametrize(
    "schema",
    [{"type": "strnig"}, {"minimum": "x"}, {"pattern": "("}, {"properties": 1}, {"required": "name"}],
)
def test_what_is_no_schema_is_told(schema: dict[str, Json]) -> None:
    problem = schema_problem(schema)
    assert problem is not None
    assert problem.startswith("output_schema is not a JSON Schema: ")
    assert schema_breaches(schema, {}) == (problem,)


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/schema.json",
        "file:///etc/passwd",
        "other.json",
        "https://json-schema.org/draft/2020-12/schema",
    ],
)
def test_nothing_is_fetched(reference: str) -> None:
    said = f"output_schema refers to {reference}, and nothing is fetched"
    schema: dict[str, Json] = {"properties": {"a": {"anyOf": [{"$ref": reference}]}}}
    assert schema_problem(schema) == said
    assert schema_breaches(schema, {"a": 1}) == (said,)


def test_nothing_is_fetched_for_a_schema_with_an_address_either() -> None:
    schema: dict[str, Json] = {"$id": "https://example.com/a.json", "$ref": "b.json"}
    found = schema_breaches(schema, 1)
    assert len(found) == 1
    assert "b.json, which is not in it, and nothing is fetched" in found[0].replace("Unresolvable: ", "")


def test_a_schema_may_refer_to_its_own_parts_by_their_address() -> None:
    part: dict[str, Json] = {"$id": "b.json", "type": "string"}
    schema: dict[str, Json] = {"$id": "https://example.com/a.json", "$ref": "b.json", "$defs": {"b": part}}
    assert schema_breaches(schema, "x") == ()
    assert schema_breaches(schema, 1) == ("1 is not of type 'string'",)


def test_a_reference_that_is_only_data_is_none() -> None:
    schema: dict[str, Json] = {
        "const": {"$ref": "http://x"},
        "default": {"$ref": "y"},
        "properties": {"$ref": {"type": "string"}},
    }
    assert schema_problem(schema) is None
    assert schema_breaches(schema, {"$ref": "http://x"}) == ()


def test_a_missing_part_is_a_breach() -> None:
    assert "nothing is fetched" in schema_breaches({"$ref": "#/$defs/gone"}, 1)[0]


FORK: dict[str, Json] = {
    f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}, {"$ref": f"#/$defs/n{i + 1}"}]} for i in range(40)
}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/n0", "$defs": {**FORK, "n40": {}}},
        {"$ref": "#/$defs/n0", "$defs": {**FORK, "n40": {}}, "unevaluatedProperties": False},
    ],
    ids=["self", "fork", "pair", "exponential", "unevaluated"],
)
def test_a_schema_without_end_ends(schema: dict[str, Json]) -> None:
    before = time.process_time()
    assert schema_breaches(schema, {}) == (ENDLESS,)
    assert time.process_time() - before < 5
