"""Both parsers of PyYAML are held to the same answers: the one in C may be missing where this runs."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core import yaml_nodes
from stratum_git.core.yaml_nodes import DEPTH, NODES, SIZE, Loader, Node, plain, read_yaml
from stratum_git.model.ids import Json
from stratum_git.model.spec import Problem

LOADERS: list[Loader] = list(dict.fromkeys([yaml_nodes.LOADER, yaml.SafeLoader]))


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest) -> Loader:
    found: Loader = request.param
    return found


def value_of(text: str, loader: Loader) -> Json:
    tree = read_yaml(text, loader=loader)
    assert tree.root is not None, tree.problems
    assert tree.problems == ()
    return plain(tree.root)


def problem_of(text: str, loader: Loader) -> Problem:
    (problem,) = read_yaml(text, loader=loader).problems
    assert problem.kind == "parse"
    return problem


def nodes(node: Node) -> Iterator[Node]:
    yield node
    children = node.value.values() if isinstance(node.value, dict) else node.value
    for child in children if isinstance(node.value, dict | list) else ():  # type: ignore[union-attr]
        assert isinstance(child, Node)
        yield from nodes(child)


SCALARS: list[tuple[str, Json]] = [
    ("text", "text"),
    ("'1'", "1"),
    ('"true"', "true"),
    ("1", 1),
    ("-17", -17),
    ("1_000", 1000),
    ("0x1f", 31),
    ("0o17", "0o17"),
    ("017", 15),
    ("0.3", 0.3),
    ("1.5e+3", 1500.0),
    ("true", True),
    ("off", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("2026-01-02", "2026-01-02"),
    ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("12:30", "12:30"),
    ("1:30.5", "1:30.5"),
    ("!!binary aGk=", "aGk="),
    ("!!timestamp 2026-01-02", "2026-01-02"),
    ("!!str 1", "1"),
    ("! 1", "1"),
    ("!!int '7'", 7),
    ("!!float '7'", 7.0),
    ("!!bool 'yes'", True),
    ("=", "="),
    ("|\n  two\n  lines\n", "two\nlines\n"),
    ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
    ("!!map {a: !!seq [1]}", {"a": [1]}),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_only_the_kinds_of_json_come_out(text: str, value: Json, loader: Loader) -> None:
    found = value_of(f"key: {text}", loader)
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


REFUSED = [
    ("", 1, "is empty", "version"),
    ("  \n# a comment\n", 1, "is empty", "version"),
    ("a: 1\nb: .nan\n", 2, ".nan is not a number", "quotes"),
    ("a: -.inf", 1, "-.inf is not a number", "quotes"),
    (f"a: {'9' * 101}", 1, "is not a number", "quotes"),
    ("a: 1.0e+999", 1, "is not a number", "quotes"),
    ("a: !!int x", 1, "x is not a number", "quotes"),
    ("a: !!int ''", 1, "is not a number", "quotes"),
    ("a: !!bool 3", 1, "3 is neither true nor false", ""),
    ("a: 1\nb: !!python/object:os.system x", 2, "the tag", "leave the tag out"),
    ("a: !mine {b: c}", 1, "the tag !mine is not supported", "leave the tag out"),
    ("a: !!set {b}", 1, "the tag", "leave the tag out"),
    ('a: "\\0"', 1, "NUL", ""),
    ("a: 1\nb: *x", 2, "the alias *x stands for nothing", "&x"),
    ("a: &x [*x]", 1, "the alias *x stands for nothing", "&x"),
    ("a: 1\n---\nb: 2\n", 2, "more than one document", "---"),
    ("a:\n\tb: 1\n", 2, "not YAML", "not with tabs"),
    ("a: 1\nb: 2\n c: 3\n", 3, "mapping values are not allowed", "a colon and a space"),
    ("a: `x`", 1, "cannot start any token", "in quotes"),
    ("a: [1, 2\n", 2, "not YAML", ""),
    ('a: "1', 1, "not YAML", ""),
    ("a: 1\nb: \x07\n", 2, "U+0007", "UTF-8"),
    ("a: \0", 1, "U+0000", "UTF-8"),
    ("a: \ud800", 1, "U+D800", "UTF-8"),
    ("1: x", 1, "a key is the number 1", "quotes"),
    ("a:\n  on: x", 2, "a key is yes or no", "quotes"),
    ("? [a]\n: x", 1, "a key is a list or a mapping", "quotes"),
    ("~: x", 1, "a key is empty", "before the colon"),
    ("a: 1\nb:\n  c: 2\n  c: 3\n", 4, "the key c is there twice, on lines 3 and 4", "keep one"),
    ("a: {<<: 1}", 1, "<< stands for something that is no mapping", "<<: *NAME"),
]


@pytest.mark.parametrize(("text", "line", "message", "hint"), REFUSED)
def test_what_cannot_be_read_is_one_problem_with_a_line(
    text: str, line: int, message: str, hint: str, loader: Loader
) -> None:
    problem = problem_of(text, loader)
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line == line


def test_a_wrong_key_is_named_by_its_place_and_the_rest_is_read(loader: Loader) -> None:
    tree = read_yaml("a:\n- b: 1\n- b: 1\n  b: 2\n  3: 4\nc: 5\n", loader=loader)
    assert [(problem.path, problem.line) for problem in tree.problems] == [("a.1.b", 4), ("a.1", 5)]
    assert tree.root is not None
    assert plain(tree.root) == {"a": [{"b": 1}, {"b": 1}], "c": 5}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "&x [", "[{b: "])
def test_a_hundred_thousand_openings_are_too_deep_and_nothing_breaks(opening: str, loader: Loader) -> None:
    assert "nested deeper" in problem_of((opening * 100_000)[:SIZE], loader).message


def test_nesting_is_allowed_to_the_limit_and_no_further(loader: Loader) -> None:
    assert value_of("[" * DEPTH + "]" * DEPTH, loader) is not None
    assert "nested deeper" in problem_of("[" * (DEPTH + 1) + "]" * (DEPTH + 1), loader).message


def test_aliases_cannot_nest_deeper_than_the_text_could(loader: Loader) -> None:
    half, more = DEPTH // 2, DEPTH // 2 + 1
    text = "a: &a {}\nb: {}"
    fits = text.format("[" * (half - 1) + "]" * (half - 1), "[" * half + "*a" + "]" * half)
    assert value_of(fits, loader) is not None
    deep = text.format("[" * half + "]" * half, "[" * more + "*a" + "]" * more)
    assert problem_of(deep, loader).line == 2


def test_an_alias_counts_as_all_that_it_stands_for(loader: Loader) -> None:
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise(names)]
    problem = problem_of("\n".join(lines), loader)
    assert problem.message == f"the text stands for more than {NODES} values"
    assert problem.line == 6


def test_a_long_text_counts_by_its_length_each_time(loader: Loader) -> None:
    text = f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 100)}]\n"
    assert "stands for more than" in problem_of(text, loader).message


def test_a_text_of_too_many_values_is_refused_and_one_below_is_read() -> None:
    fits = "[" + "1," * (NODES - 1) + "]"
    assert "stands for more than" in problem_of(f"{fits[:-1]}1]", yaml_nodes.LOADER).message
    assert read_yaml(fits).root is not None


def test_a_text_over_the_size_is_refused_by_its_bytes() -> None:
    assert read_yaml("a: " + "x" * (SIZE - 3)).root is not None
    for text in ("x" * (SIZE + 1), "\xe9" * (SIZE // 2 + 1)):
        assert f"larger than {SIZE} bytes" in problem_of(text, yaml_nodes.LOADER).message


def test_an_alias_repeats_a_value_and_may_be_moved_to_another(loader: Loader) -> None:
    text = "a: &x {k: [1]}\nb: *x\nc: &x 2\nd: *x\n"
    assert value_of(text, loader) == {"a": {"k": [1]}, "b": {"k": [1]}, "c": 2, "d": 2}


def test_merge_keys_give_way_to_what_is_written_and_to_earlier_ones(loader: Loader) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd:\n  z: 4\n  <<: *b\n"
    found = value_of(text, loader)
    assert isinstance(found, dict)
    assert found["c"] == {"z": 3, "x": 1, "y": 1}
    assert found["d"] == {"z": 4, "y": 2}


def test_a_value_has_the_line_of_its_key_and_an_entry_its_own(loader: Loader) -> None:
    root = read_yaml("top:\n  list:\n  - one\n  - two:\n      3\n", loader=loader).root
    assert root is not None
    assert [(node.line, type(node.value)) for node in nodes(root)] == [
        (1, dict),
        (1, dict),
        (2, list),
        (3, str),
        (4, dict),
        (4, int),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_what_json_can_hold_comes_back_from_yaml(value: Json) -> None:
    text = yaml.safe_dump({"value": value}, allow_unicode=True)
    readings = [read_yaml(text, loader=loader) for loader in LOADERS]
    if "\\0" in text or "<<" in text or '"\\ud' in text.lower() or "\x85" in text:
        return  # refused, or read as a merge key, or (U+0085, left bare by the writer) as the end of a line
    assert all(tree.problems == () for tree in readings)
    found = [plain(tree.root) for tree in readings if tree.root is not None]
    assert found == [{"value": value}] * len(LOADERS)


@given(st.text())
def test_any_text_is_read_or_refused_and_never_raises(text: str) -> None:
    for loader in LOADERS:
        tree = read_yaml(text, loader=loader)
        assert tree.root is not None or tree.problems
        assert all(problem.line >= 1 for problem in tree.problems)
