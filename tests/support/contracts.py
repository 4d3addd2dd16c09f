"""Holds answers to the schemas that are shipped."""

from __future__ import annotations

import json
from functools import cache

from jsonschema import Draft202012Validator

from stratum_git.model.ids import Json
from stratum_git.resources import contracts


@cache
def contract(name: str) -> Draft202012Validator:
    """Returns the validator of a contract."""
    schema = json.loads((contracts() / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def conforms(answer: Json, name: str) -> None:
    """Raises when an answer does not keep its contract."""
    contract(name).validate(answer)
