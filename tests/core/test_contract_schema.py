"""Contracts as JSON Schema: what fits the schema keeps the contract, and the other way round."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.core.contract_schema import schema_for
from stratum_git.core.contracts import breaches
from stratum_git.core.schema import schema_breaches
from stratum_git.model.ids import Json
from stratum_git.model.spec import Contract, Field

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 1.5]), st.sampled_from("ab")
)
VALUES: st.SearchStrategy[Json] = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from("xy"), SCALARS, max_size=2)
)
TYPES = st.sampled_from(["string", "boolean", "integer", "number", "array", "object", "TaskGraph"])
FIELDS = st.builds(Field, TYPES, st.none() | st.lists(SCALARS, max_size=3).map(tuple))
CONTRACTS = st.dictionaries(st.sampled_from("xyz"), FIELDS, max_size=3)


@settings(max_examples=60)
@given(CONTRACTS, VALUES | st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3))
def test_what_fits_the_schema_keeps_the_contract_and_nothing_else_does(
    contract: Contract, value: Json
) -> None:
    schema = schema_for(contract, None)
    assert isinstance(schema, dict)
    assert bool(schema_breaches(schema, value)) is bool(breaches(contract, value))


def test_a_schema_of_the_step_counts_as_well_and_still_refers_to_itself() -> None:
    own: dict[str, Json] = {"properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"minimum": 2}}}
    both = schema_for({"ok": Field("boolean")}, own)
    assert isinstance(both, dict)
    assert not schema_breaches(both, {"ok": True, "n": 2})
    assert schema_breaches(both, {"ok": True, "n": 1})
    assert schema_breaches(both, {"n": 2})
    assert schema_for(None, own) == own
    assert schema_for(None, None) is None
