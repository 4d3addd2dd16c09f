"""Classes of ours do what the library's dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.model import changing, values

Rows: TypeAlias = list[tuple[str, int]]
Calls: TypeAlias = list[tuple[list[int], dict[str, int]]]

NAMES = ("alpha", "beta", "self", "other", "name", "cls")
DEFAULTS: tuple[dict[str, Any] | None, ...] = (
    None,
    {"default": 3},
    {"default_factory": list},
    {"default": 1, "repr": False},
    {"default_factory": dict, "init": False},
    {"default": "x", "init": False, "compare": False},
)
LOADED = """\
import sys
from stratum_git.model.values import asdict, dataclass, field, fields, is_dataclass
{}
one = Pair(1)
assert one == Pair(1) and hash(one) and repr(one) and asdict(one) and is_dataclass(one) and fields(Pair)
print("dataclasses" in sys.modules, "inspect" in sys.modules)
"""
PAIR = """\
@dataclass(frozen=True, slots=True)
class Pair:
    one: "int"
    two: "str" = field(default="x")
"""


def made(library: Any, rows: Rows, how: Mapping[str, bool], base: type | None = None) -> Any:
    """Returns a class with the given fields; those without a default come first."""
    ordered = sorted(rows, key=lambda row: row[1] != 0)
    body: dict[str, Any] = {"__module__": __name__, "__qualname__": "Outer.Made"}
    body["__annotations__"] = dict.fromkeys((name for name, _ in ordered), "object")
    for name, number in ordered:
        said = DEFAULTS[number]
        if said is not None:
            body[name] = library.field(**said)
    return library.dataclass(**how)(type("Made", () if base is None else (base,), body))


def outcome(ask: Any) -> tuple[str, str]:
    try:
        return "value", str(ask())
    except Exception as error:  # noqa: BLE001 - what is compared
        return type(error).__name__, str(error)


FIELDS, OURS = dataclasses.fields, values.fields
rows = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, len(DEFAULTS) - 1)), unique_by=lambda row: row[0]
)
hows = st.fixed_dictionaries({"frozen": st.booleans(), "slots": st.booleans(), "eq": st.booleans()})
arguments = st.tuples(
    st.lists(st.integers(0, 2), max_size=4), st.dictionaries(st.sampled_from(NAMES[:5]), st.integers(0, 2))
)


def asked(kind: Any, calls: Calls) -> list[object]:
    """Returns what a class answers to all that is asked of one."""
    found: list[object] = [
        str(inspect.signature(kind)),
        kind.__match_args__,
        kind.__dict__.get("__slots__"),
        kind.__hash__ is None,
        kind.__init__.__qualname__,
        *([(part.name, part.type, part.init, part.compare) for part in of(kind)] for of in (FIELDS, OURS)),
        *(outcome(lambda call=call: kind(*call[0], **call[1]))[0] for call in calls),
    ]
    some = [
        kind(*words, **named)
        for words, named in calls
        if outcome(partial(kind, *words, **named))[0] == "value"
    ]
    is_compared = kind.__eq__ is not object.__eq__
    for one in some:
        found += [
            outcome(lambda one=one: repr(one)),
            outcome(lambda one=one: hash(one) if is_compared else 0),
        ]
        found += [[one == other for other in some], one.__eq__(1) is NotImplemented]
        found += [outcome(partial(how, one)) for how in (dataclasses.asdict, values.asdict)]
        found += [outcome(partial(how, one)) for how in (copy.copy, copy.deepcopy)]
        for name in (*NAMES, "absent"):
            found += [outcome(lambda one=one, name=name: changing.replace(one, **{name: 7}))[0]]
            found += changed(kind, one, name)
    return found


def changed(kind: Any, one: object, name: str) -> list[object]:
    """Returns what comes of it when a field is set, and deleted."""
    found: list[object] = []
    for number in range(2):
        other = copy.copy(one)
        said = outcome(partial(setattr, other, name, 5) if number else partial(delattr, other, name))
        # Of other names the library complains in words that come of how its slots are made.
        is_field = name in {part.name for part in FIELDS(kind)}
        found += [said if is_field else said[0] == "value", outcome(partial(getattr, other, name))[0]]
    return found


@settings(max_examples=20, deadline=None)
@given(rows, hows, st.lists(arguments, max_size=4))
def test_a_class_answers_as_one_of_the_library(fields: Rows, how: dict[str, bool], calls: Calls) -> None:
    assert asked(made(values, fields, how), calls) == asked(made(dataclasses, fields, how), calls)


@settings(max_examples=20, deadline=None)
@given(rows, rows, hows, st.lists(arguments, max_size=3))
def test_a_class_below_another_answers_as_one_of_the_library(
    above: Rows, below: Rows, how: dict[str, bool], calls: Calls
) -> None:
    def pair(top: Any, bottom: Any) -> object:
        try:
            return asked(made(bottom, below, how, made(top, above, how)), calls)
        except TypeError:
            # A field without a default follows one that has one.
            return TypeError

    expected = pair(dataclasses, dataclasses)
    assert pair(values, values) == expected
    assert pair(values, dataclasses) == expected


@values.dataclass(frozen=True, slots=True)
class Kept:
    """One that a pickle finds."""

    one: int
    some: tuple[int, ...] = ()


def test_a_value_is_pickled_whole() -> None:
    assert pickle.loads(pickle.dumps(Kept(1, (2,)))) == Kept(1, (2,))


def test_a_value_that_holds_itself_is_told() -> None:
    @values.dataclass
    class Ring:
        around: list[object]

    ring = Ring([])
    ring.around.append(ring)
    assert repr(ring).endswith(".Ring(around=[...])")


def test_a_default_that_can_be_changed_is_refused() -> None:
    with pytest.raises(ValueError, match="can be changed"):
        values.dataclass(type("Wrong", (), {"__annotations__": {"rows": "list"}, "rows": []}))


def test_a_declaration_that_is_not_known_here_is_refused() -> None:
    for said in ("ClassVar[int]", "InitVar[int]", int):
        with pytest.raises(TypeError, match="not declared"):
            values.dataclass(type("Wrong", (), {"__annotations__": {"rows": said}}))


def test_who_uses_a_value_does_not_load_the_library() -> None:
    words = (sys.executable, "-c", LOADED.format(PAIR))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
