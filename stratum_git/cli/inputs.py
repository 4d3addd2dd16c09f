"""Inputs of a flow as the command line has them: ``K=V``, or ``K=@FILE``."""

from __future__ import annotations

from pathlib import Path

from stratum_git.app.checking import read_spec
from stratum_git.core.strict_json import read_json
from stratum_git.errors import UserError
from stratum_git.model.ids import Json


def read_input(text: str, cwd: Path) -> tuple[str, Json]:
    """Returns the name and value of an input; raises UserError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--input {text} is not K=V", hint="for example --input topic=tests")
    if not value.startswith("@"):
        return name, value
    path = cwd / value[1:]
    content = read_spec(path)
    if path.suffix == ".json":
        try:
            return name, read_json(content)
        except ValueError as error:
            raise UserError(f"{path} is not JSON: {error}") from error
    return name, content
