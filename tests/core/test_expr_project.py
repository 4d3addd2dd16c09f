import time
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.expr import Broken, Value, evaluate, judge
from stratum_git.core.expr_conflicts import Owner, conflicts
from stratum_git.core.paths import overlap
from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Tree:
    """Files by path; ``None`` is one without text."""

    files: Mapping[str, str | None]

    def exists(self, path: str) -> bool:
        return path in self.files

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def changed(self, base: str) -> tuple[str, ...]:
        return ("src/a.py",) if base == "HEAD" else ()


TREE = Tree({"src/a.py": "import os\n", "logo.png": None})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("file_exists('src/a.py')", True),
        ("file_exists('./src//a.py')", True),
        ("file_exists('src')", False),
        ("file_contains('src/a.py', 'import')", True),
        ("file_contains('src/a.py', 'export')", False),
        ("file_contains('logo.png', '')", False),
        ("file_contains('gone', '')", False),
        ("all(file_exists(f) for f in ['src/a.py', 'logo.png'])", True),
    ],
)
def test_files_of_the_repository_can_be_asked_about(source: str, value: bool) -> None:
    assert evaluate(source, {}, TREE) == Value(value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("file_exists('/etc/passwd')", "/etc/passwd is not a path inside of the repository"),
        ("file_exists('../x')", "../x is not a path inside of the repository"),
        ("file_contains('a/../../x', '')", "a/../../x is not a path inside of the repository"),
        ("file_exists('a\\0')", "a text is given where a path was expected"),
        ("file_exists('')", "a text is given where a path was expected"),
        ("file_exists(null)", "null is given where a path was expected"),
        ("file_contains('src/a.py', 1)", "a whole number cannot be part of a text"),
        ("vocabulary_compliance('/v', [])", "/v is not a path inside of the repository"),
    ],
)
def test_nothing_outside_of_the_repository_can(source: str, reason: str) -> None:
    assert evaluate(source, {}, TREE) == Broken(reason)


# --- no_file_conflicts ------------------------------------------------------------------------------------


def _tasks(*rows: tuple[str, list[str], list[str]]) -> dict[str, Json]:
    return {"tasks": [{"id": i, "depends_on": [*needs], "files_owned": [*owned]} for i, needs, owned in rows]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.py", "a.py"),
        ("./a.py", "a.py"),
        ("src", "src/"),
        ("src/", "src/a.py"),
        ("src/a/b.py", "src"),
        ("src/*.py", "src/a.py"),
        ("**/*.py", "src/deep/a.py"),
        ("src/**", "src/x/*.md"),
        (".", "anything"),
        ("app/[id]/page.tsx", "app/[id]/page.tsx"),
    ],
)
def test_tasks_that_may_run_at_once_must_not_own_common_files(one: str, other: str) -> None:
    apart = _tasks(("a", [], [one]), ("b", [], [other]))
    both = one if one == other else f"files of {one} and {other}"
    assert judge(["no_file_conflicts(tasks)"], apart, None) == (
        f"tasks a and b may run at once, and both own {both}",
    )
    in_turn = _tasks(("a", [], [one]), ("mid", ["a"], []), ("b", ["mid"], [other]))
    assert evaluate("no_file_conflicts(tasks)", in_turn, None) == Value(value=True)


def test_tasks_that_own_different_files_do_not_conflict() -> None:
    tasks = _tasks(
        ("a", [], ["src/a.py", "src/b/"]), ("b", [], ["src/a.pyi", "src/bb", "*.py"]), ("c", [], [])
    )
    assert evaluate("no_file_conflicts(tasks)", tasks, None) == Value(value=True)
    assert evaluate("no_file_conflicts([{'id': 'a'}, {'id': 'b'}])", {}, None) == Value(value=True)


def test_siblings_conflict_although_both_follow_one_task() -> None:
    tasks = _tasks(("root", [], ["x"]), ("a", ["root"], ["x"]), ("b", ["root"], ["y", "x/"]))
    assert judge(["no_file_conflicts(tasks)"], tasks, None) == (
        "tasks a and b may run at once, and both own files of x and x/",
    )


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ([{"id": "a", "depends_on": ["zz"]}], "zz, which a task depends on, is no task"),
        ([{"id": "a"}, {"id": "a"}], "two tasks have one id"),
        ([{"id": "a"}, "b"], "a task is a text, not an object"),
        ([{}], "the id of a task is null, not a text"),
        ([{"id": "a", "files_owned": "src"}], "a text is given where a list was expected"),
        ([{"id": "a", "files_owned": ["../x"]}], "'../x' cannot be owned: it leaves the repository"),
        ("abc", "a text is given where a list was expected"),
    ],
)
def test_a_graph_that_cannot_be_read_is_no_proof(tasks: Json, reason: str) -> None:
    assert evaluate("no_file_conflicts(tasks)", {"tasks": tasks}, None) == Broken(reason)


def test_a_cycle_is_a_violation() -> None:
    tasks = _tasks(("a", ["b"], []), ("b", ["a"], []))
    assert judge(["no_file_conflicts(tasks)"], tasks, None) == ("tasks wait for each other in a circle",)


@pytest.mark.parametrize("count", [2000, 10_000])
def test_long_chains_are_checked_quickly(count: int) -> None:
    rows = [(f"t{i}", [f"t{i - 1}"] if i else [], ["src/", f"lib/{i}.py"]) for i in range(count)]
    before = time.process_time()
    assert evaluate("no_file_conflicts(tasks)", _tasks(*rows), None) == Value(value=True)
    assert time.process_time() - before < 2


def test_many_conflicts_are_told_up_to_a_number() -> None:
    rows: list[tuple[str, list[str], list[str]]] = [(f"t{i}", [], ["src/"]) for i in range(2000)]
    assert len(judge(["no_file_conflicts(tasks)"], _tasks(*rows), None)) == 50


OWNED = st.lists(
    st.sampled_from(["a", "a/b", "a/", "a/*", "*.py", "a/x.py", "**", "b/[ab]", "b/a"]), max_size=2
)


@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), OWNED), max_size=6))
def test_conflicts_are_those_that_comparing_every_two_tasks_finds(
    rows: list[tuple[set[int], list[str]]],
) -> None:
    owners = [
        Owner(tuple(n for n in sorted(needs) if n < i), tuple(owned)) for i, (needs, owned) in enumerate(rows)
    ]
    above: list[set[int]] = []
    for owner in owners:
        above.append({*owner.needs, *(far for need in owner.needs for far in above[need])})
    expected = {
        (i, j)
        for j, late in enumerate(owners)
        for i, early in enumerate(owners[:j])
        if i not in above[j] and any(overlap(a, b) for a in early.patterns for b in late.patterns)
    }
    found = conflicts(owners, lambda _: None, 100)
    assert found is not None
    assert {(c.first, c.second) for c in found} == expected
    for c in found:
        assert c.patterns[0] in owners[c.first].patterns
        assert c.patterns[1] in owners[c.second].patterns
        assert overlap(*c.patterns)


# --- plan_completion --------------------------------------------------------------------------------------

PLAN: Json = [{"text": "one", "file": "a"}, {"text": "two", "file": "./b"}, {"text": "three"}]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("plan_completion(plan, ['a', 'b'])", ()),
        ("plan_completion(plan, ['./a', 'b', 'more'])", ()),
        ("plan_completion(plan, ['a'], 66)", ()),
        ("plan_completion(plan, ['a'], threshold=66)", ()),
        ("plan_completion([], [])", ()),
        (
            "plan_completion(plan, ['a'])",
            ("Plan completion 67% is below threshold 90%", "Missing item: two (expected in ./b)"),
        ),
        (
            "plan_completion(plan + [{'text': 'four', 'file': 'd', 'critical': true}], ['a', 'b'], 0)",
            ("Missing critical item: four (expected in d)",),
        ),
    ],
)
def test_a_plan_is_complete_when_enough_of_its_files_changed(source: str, found: tuple[str, ...]) -> None:
    assert judge([source], {"plan": PLAN}, None) == found


# --- vocabulary_compliance --------------------------------------------------------------------------------

VOCABULARY = "attempt:\n  reject: [try_out, run]\n  reason: one word\non:\n  reject: [null, 'off']\n"


def _vocabulary(text: str) -> Tree:
    return Tree({"v.yaml": text, "a.py": "x = 1\nrun = runs\nattempt(run, off)\n", "b.py": "Run"})


def test_each_rejected_word_in_a_changed_file_is_a_violation() -> None:
    source = "vocabulary_compliance('v.yaml', ['a.py', 'b.py', 'gone.py'])"
    assert judge([source], {}, _vocabulary(VOCABULARY)) == (
        "a.py:2: write attempt, not run",
        "a.py:3: write attempt, not run",
        "a.py:3: write on, not off",
    )


@pytest.mark.parametrize(
    "source",
    [
        "vocabulary_compliance('v.yaml', ['b.py'])",
        "vocabulary_compliance('v.yaml', [])",
        "vocabulary_compliance('v.yaml', [], git_fallback=false)",
        "vocabulary_compliance('v.yaml', ['b.py'], git_fallback=true, base='HEAD')",
        "vocabulary_compliance('gone.yaml', ['a.py'])",
        "vocabulary_compliance('gone.yaml', [], git_fallback=true)",
    ],
)
def test_there_is_nothing_to_say_without_rejected_words(source: str) -> None:
    assert evaluate(source, {}, _vocabulary(VOCABULARY)) == Value(value=True)


def test_git_is_asked_for_the_changed_files_where_none_are_given() -> None:
    files = Tree({"v.yaml": VOCABULARY, "src/a.py": "run = 1\n"})
    source = "vocabulary_compliance('v.yaml', [], git_fallback=true)"
    found = evaluate(source, {}, files)
    assert isinstance(found, Broken)
    assert "src/a.py:1" in found.reason
    # No such commit, so nothing is known to have changed: it is never an option of git's.
    nowhere = source.replace("true)", "true, base='--output=x')")
    assert evaluate(nowhere, {}, files) == Value(value=True)


def test_an_empty_vocabulary_rejects_nothing() -> None:
    for text in ("", " \n", "# nothing\n"):
        assert evaluate("vocabulary_compliance('v.yaml', ['a.py'])", {}, _vocabulary(text)) == Value(
            value=True
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "the vocabulary is not a map of words"),
        ("a: [b]\n", "the vocabulary is not a map of words"),
        ("a: {reject: []}", "the vocabulary's entry a takes `reject`, a list of words, and `reason`"),
        ("a: {reject: b}", "the vocabulary's entry a takes `reject`, a list of words, and `reason`"),
        ("a: {rejects: [b]}", "the vocabulary's entry a takes `reject`, a list of words, and `reason`"),
        (
            "a: {reject: [b], because: x}",
            "the vocabulary's entry a takes `reject`, a list of words, and `reason`",
        ),
        ("a: {reject: [a]}", "a is rejected twice in the vocabulary, or is its own replacement"),
        ("a: {reject: [b, b]}", "b is rejected twice in the vocabulary, or is its own replacement"),
        ("a: {reject: [b]}\nb: {reject: [c]}", "b is both rejected and to be written in the vocabulary"),
        ("a: {reject: [b]}\na: {reject: [c]}", "a stands twice in the vocabulary"),
        ("a:\n  reject: [b c]", "line 2 of the vocabulary has no identifier where one is due"),
        ("a-b: {reject: [c]}", "line 1 of the vocabulary has no identifier where one is due"),
        ("x" * 200_000, "the vocabulary is too long"),
        ("[" * 50_000, "it is nested too deep"),
    ],
    ids=lambda text: text[:30],
)
def test_a_vocabulary_that_cannot_be_read_is_no_proof(text: str, reason: str) -> None:
    assert evaluate("vocabulary_compliance('v.yaml', ['a.py'])", {}, _vocabulary(text)) == Broken(reason)


def test_a_vocabulary_that_is_no_yaml_is_no_proof() -> None:
    found = evaluate("vocabulary_compliance('v.yaml', ['a.py'])", {}, _vocabulary("a: [b"))
    assert isinstance(found, Broken)
    assert found.reason.startswith("the vocabulary is not YAML: ")
    assert "\n" not in found.reason


def test_aliases_of_a_vocabulary_are_not_multiplied() -> None:
    lines = ["a0: &a0 {reject: [x0]}", *(f"a{i}: {{reject: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 50))]
    found = evaluate("vocabulary_compliance('v.yaml', [])", {}, _vocabulary("\n".join(lines)))
    assert isinstance(found, Broken)
