"""What a scalar of YAML stands for: JSON's kinds of values and nothing else.

Timestamps, binary and times of day (``12:30``, which YAML 1.1 reads as 750) stay the text that was written,
since a spec has no use for them and their authors meant the text. Numbers that JSON cannot hold are refused.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import yaml

from stratum_git.model.values import dataclass

Scalar: TypeAlias = str | int | float | bool | None

LONGEST_NUMBER = 100
"""Characters. A longer whole number is no amount of anything here, and reading it costs its square."""

_PREFIX = "tag:yaml.org,2002:"
_TEXTS = frozenset({"!", *(_PREFIX + kind for kind in ("str", "timestamp", "binary"))})
_NUMBERS = frozenset({_PREFIX + "int", _PREFIX + "float"})
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


@dataclass(frozen=True, slots=True)
class Refused:
    """A scalar that cannot be used, and why."""

    reason: str
    hint: str = ""


def read_scalar(text: str, tag: str | None, *, plain: bool) -> Scalar | Refused:
    """Returns the value of a scalar as it was written; *plain* says that it has no quotes."""
    refused = _unusable(text)
    if refused is not None:
        return refused
    kind = _kind(text, tag, plain=plain)
    if kind == _PREFIX + "null":
        return None
    if kind == _PREFIX + "bool":
        return _truth(text)
    if kind in _NUMBERS:
        return _number(kind, text)
    if tag is not None and kind not in _TEXTS:
        return Refused(f"the tag {tag} is not supported", "leave the tag out")
    return text


def _unusable(text: str) -> Refused | None:
    r"""Refuses what an escape such as ``"\0"`` can smuggle past the check of the whole text."""
    if "\0" in text:
        return Refused("a text has a NUL in it")
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return None
    return Refused("a text has half of a surrogate pair in it")


def _kind(text: str, tag: str | None, *, plain: bool) -> str:
    if tag is not None:
        return tag
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, (plain, not plain)))  # type: ignore[no-untyped-call]


def _truth(text: str) -> bool | Refused:
    known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    return known.get(text.lower(), Refused(f"{text[:40]} is neither true nor false"))


def _number(kind: str, text: str) -> Scalar | Refused:
    if ":" in text:
        return text
    refused = Refused(f"{text[:40]} is not a number that can be used", "put it in quotes if it is a text")
    if len(text) > LONGEST_NUMBER:
        return refused
    node = yaml.ScalarNode(kind, text)
    try:
        # Not construct_object: that keeps every node it ever saw.
        value = _whole(node) if kind.endswith("int") else float(_CONSTRUCTOR.construct_yaml_float(node))
    except (ValueError, OverflowError, IndexError):
        return refused
    return value if math.isfinite(value) else refused


def _whole(node: yaml.ScalarNode) -> int:
    return int(_CONSTRUCTOR.construct_yaml_int(node))
