import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.core.expr import Broken, Value, evaluate, judge, refusal
from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Given:
    texts: Mapping[str, str | None] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        return path in self.texts

    def text(self, path: str) -> str | None:
        return self.texts.get(path)

    def changed(self, base: str) -> tuple[str, ...]:
        return ("src/a.py",) if base == "HEAD" else ()


BOMBS = [
    "9**9**9",
    "9**9**8 > 0",
    "2**400",
    "10**99 * 10**99",
    "0.5**-5000",
    "'a' * 10**10",
    "10**10 * [0]",
    "'%9999999999d' % 1",
    "'%*d' % (10**9, 1)",
    "1e999",
    "float('inf')",
    "float('nan')",
    "int('9' * 5000)",
    "float('9' * 5000)",
    "[[[[[[0] * 900] * 900] * 900] * 900] * 900]",
    "str([[['a' * 9000] * 900] * 900])",
    "[[[0] * 900] * 900] == [[[0] * 900] * 900]",
    "[[[0] * 900] * 900] in [[[[0] * 900] * 900]]",
    "[[[0] * 900] * 900].index(1)",
    "[1].index([[[0] * 900] * 900] * 900)",
    "sorted([[[0] * 900] * 900] * 900)",
    "max([[[0] * 900] * 900] * 900)",
    "no_file_conflicts([{'id': [[[0] * 900] * 900] * 900}])",
    "no_file_conflicts([{'id': 'a', 'depends_on': [[[[0] * 900] * 900] * 900]}])",
    "no_file_conflicts([{'id': 'a', 'files_owned': [[[[0] * 900] * 900] * 900]}])",
    "plan_completion([{'file': [[[0] * 900] * 900] * 900}], [])",
    "plan_completion([], [[[[0] * 900] * 900] * 900])",
    "file_exists([[[0] * 900] * 900] * 900)",
    "file_exists([[[0] * 900] * 900] * 900)",
    "'a'.replace([[[0] * 900] * 900] * 900, 'b')",
    "('a' * 1000000).replace('a', 'b' * 1000)",
    "('a' * 100000).join(['b'] * 1000)",
    "[x for a in big for b in big for x in big]",
    "[0 for a in big for b in big if false]",
    "[s[1:] for s in ['a' * 900000] for x in big]",
    "[s + 'b' for s in ['a' * 900000] for x in big]",
    "[s.upper() for s in ['a' * 900000] for x in big]",
    "[t in [s] * 9000 for s in ['a' * 9000] for t in ['a' * 8999 + 'b'] for x in big]",
    "[t == s for s in ['a' * 900000] for t in ['a' * 900000] for x in big]",
    "[('a' * 9000).split('a') for x in big]",
    "{x * (2**61 - 1) for x in big}",
    "sum(sum(sum(big) for x in big) for y in big)",
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_is_defused_quickly(source: str) -> None:
    names: dict[str, Json] = {"big": list(range(1, 5001))}
    before = time.process_time()
    assert isinstance(evaluate(source, names, Given()), Broken)
    assert time.process_time() - before < 2


def test_a_value_too_large_to_be_written_is_no_value_but_may_be_asked_about() -> None:
    bomb = "[[[0] * 900] * 900] * 900"
    assert evaluate(bomb, {}, None) == Broken("it comes to something too large")
    assert evaluate(f"len({bomb})", {}, None) == Value(900)
    assert judge([bomb], {}, None) == ()


def test_a_large_result_can_be_handed_on_and_is_only_paid_for_when_looked_at() -> None:
    names: dict[str, Json] = {"result": [[i] for i in range(200_000)]}
    assert evaluate("result", names, None) == Value(names["result"])
    assert evaluate("len(result)", names, None) == Value(200_000)
    assert evaluate("sorted(result)", names, None) == Broken("it takes too many steps")


def test_data_nested_too_deep_to_be_handled_is_broken() -> None:
    deep: Json = []
    for _ in range(100_000):
        deep = [deep]
    assert evaluate("x", {"x": deep}, None) == Broken("it comes to something nested too deep")
    assert isinstance(evaluate("x == y", {"x": deep, "y": [deep]}, None), Broken)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    """a b x result 1 2 0.5 'q' '' [] {} () ( ) [ ] { } , : . .a .items() .get('a') .join(x) .split()
    * ** + - // % == < in is not and or if else for lambda := [x] len( str( max( sorted( sum( round( int( any(
    no_file_conflicts( plan_completion( vocabulary_compliance( file_contains( ) None true null __class__
    """.split()  # noqa: SIM905 - read as a sentence
)
SOURCES = st.text(max_size=60) | st.lists(PIECES, max_size=14).map(" ".join)


@given(source=SOURCES, names=st.dictionaries(st.sampled_from(["a", "b", "x", "result"]), VALUES, max_size=4))
@settings(max_examples=600, deadline=2000)
def test_nothing_makes_an_evaluation_raise(source: str, names: dict[str, Json]) -> None:
    files = Given({"a": "text", "": None})
    found = evaluate(source, names, files)
    assert isinstance(found, Value | Broken)
    if refusal(source) is not None:
        assert found == Broken(refusal(source) or "")
    assert all(isinstance(line, str) for line in judge([source], names, files))


NUMBERS = st.integers(-9, 9).map(str) | st.sampled_from(["0.5", "2.25"])
OPERATORS = st.sampled_from(["+", "-", "*", "<", "<=", "==", "!=", "and", "or"])
FORMULAS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.tuples(inner, OPERATORS, inner).map(lambda t: f"({' '.join(t)})")
        | inner.map(lambda s: f"(not {s})")
        | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: f"max([{', '.join(items)}])")
    ),
    max_leaves=12,
)


@given(FORMULAS)
@settings(max_examples=200)
def test_a_formula_comes_to_what_python_makes_of_it(source: str) -> None:
    found = evaluate(source, {}, None)
    if isinstance(found, Value):
        assert repr(found.value) == repr(eval(source, {}))
    else:
        assert "nested too deep" in found.reason or "too large" in found.reason
