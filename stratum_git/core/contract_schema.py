"""A contract as JSON Schema, for agents that can be held to one while they answer.

What fits the schema keeps the contract: ``tests/core/test_contract_schema.py``. Further fields fit both.
"""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.core.contracts import TYPES
from stratum_git.model.ids import Json
from stratum_git.model.spec import Contract, Field


def schema_for(contract: Contract | None, schema: Mapping[str, Json] | None) -> Json:
    """Returns the JSON Schema of an output that has to keep a contract and fit a schema; ``None`` for any."""
    own = None if contract is None else _of_contract(contract)
    if schema is None or own is None:
        return own if schema is None else dict(schema)
    also = schema.get("allOf")
    # The schema stays the root: what refers to its parts begins there.
    return {**schema, "allOf": [*(also if isinstance(also, list) else ()), own]}


def _of_contract(contract: Contract) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {name: _of_field(field) for name, field in contract.items()},
        "required": list(contract),
    }


def _of_field(field: Field) -> Json:
    # A type that is none of JSON's is the author's own word, and means any value.
    found: dict[str, Json] = {"type": field.type} if field.type in TYPES else {}
    return found if field.values is None else {**found, "enum": list(field.values)}
