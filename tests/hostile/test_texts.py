"""Patterns, schemas, templates, graphs and revisions that are more work than they look."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.agents.answers import BadAnswer, find_answer, last_object
from stratum_git.core.guardrails import ALL, hits
from stratum_git.core.schema import schema_breaches
from stratum_git.core.strict_json import DEPTH, read_json
from stratum_git.core.taskgraph import read_graph
from stratum_git.core.template import render
from stratum_git.errors import UserError
from stratum_git.git.repository import Repository, UnknownRevision, resolve, valid_branch
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json

MOMENT = 5.0
EVIL = "^(a|aa)+$"
LONG = "a" * 60 + "!"


@pytest.fixture(autouse=True)
def in_a_moment() -> Iterator[None]:
    """Fails a test that takes more of the processor than it may."""
    before = time.process_time()
    yield
    assert time.process_time() - before < MOMENT


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": EVIL}, LONG),
        ({"patternProperties": {EVIL: {}}}, {LONG: 1}),
        ({"additionalProperties": False, "patternProperties": {EVIL: {}}}, {LONG: 1}),
        ({"items": {"pattern": EVIL}}, [LONG] * 1000),
        ({"pattern": "a" * 5000}, "b" * 5000),
        ({"items": {"properties": {f"p{n}": {} for n in range(1000)}}}, [{}] * 20_000),
        ({"items": {"enum": list(range(2000))}}, [-1] * 50_000),
        ({"items": {"required": [f"p{n}" for n in range(2000)]}}, [{}] * 20_000),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 2}}}, 1),
        ({"$ref": "http://127.0.0.1:9/x"}, 1),
        ({"$ref": "file:///etc/passwd"}, 1),
        ({"pattern": "(((a{1,9999}){1,9999}){1,9999}){1,9999}b"}, "a" * 200),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_schema_that_never_ends_is_given_up(schema: dict[str, Json], value: Json) -> None:
    assert schema_breaches(schema, value)


def test_large_lists_of_different_things_are_compared_in_a_moment() -> None:
    rows: Json = [{"n": n, "x": [n]} for n in range(4000)]
    assert schema_breaches({"uniqueItems": True}, rows) == ()
    assert schema_breaches({"uniqueItems": True}, [1, 1.0]) != ()
    assert schema_breaches({"uniqueItems": True}, [1, True, "1", None, [1], {"a": 1}]) == ()


def test_many_evil_guardrails_share_their_time() -> None:
    before = time.thread_time()
    assert len(hits([f"(?:b{{{n}}})?(a|aa)+$" for n in range(40)], {"x": "a" * 5000})) == 40
    assert time.thread_time() - before < 5 * ALL


def test_a_guardrail_that_takes_long_to_get_ready_is_not_begun() -> None:
    (said,) = hits(["a" * 5000], {"x": "b" * 5000})
    assert "longer than" in said


def test_deep_json_is_refused_where_it_comes_in(tmp_path: Path) -> None:
    inside, outside = "[" * DEPTH + "]" * DEPTH, "[" * (DEPTH + 1) + "]" * (DEPTH + 1)
    assert read_json(inside)
    for text in (outside, "[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"deep|Expecting"):
            read_json(text)
    (tmp_path / "result.json").write_text('{"a": ' + outside + "}")
    assert isinstance(find_answer(tmp_path / "result.json", b""), BadAnswer)


@pytest.mark.parametrize("line", ['{"a":\n', "[[\n", '[{"k":0},\n', '{"a":1}x\n', '{"a": "\\u'])
def test_output_that_looks_like_an_answer_on_every_line_is_read_in_a_moment(line: str) -> None:
    assert last_object(line * (300_000 // len(line))) is None


def test_a_template_is_filled_once_and_never_read_again() -> None:
    holes = "{task.a}" * 100_000
    made = render(holes, {"a": "{input.secret}"}, {"secret": "s"})
    assert getattr(made, "text", "") == "{input.secret}" * 100_000
    for hole in (
        "{task.a.__class__}",
        "{task.__class__}",
        "{input.__init__.__globals__}",
        "{0.__class__}",
        "{}",
    ):
        assert getattr(render(hole, {"a": "x"}, {}), "text", hole) == hole


def test_a_graph_of_many_tasks_or_strange_ids_is_refused_in_a_moment() -> None:
    rows: Json = [{"id": f"t{n}"} for n in range(100_000)]
    assert not isinstance(read_graph(rows), TaskGraph)
    ring: Json = [{"id": f"t{n}", "depends_on": [f"t{(n + 1) % 10_000}"]} for n in range(10_000)]
    assert not isinstance(read_graph(ring), TaskGraph)
    strange = (
        "..",
        "-rf",
        "a/b",
        "a.lock",
        "a@{1}",
        "a\x1b[m",
        "x" * 10_000,
        "\u0430",
        "\uff41",
        "a\u200b",
        "",
        ".git",
    )
    for name in strange:
        assert not isinstance(read_graph([{"id": name}]), TaskGraph), name
    assert not isinstance(read_graph([{"id": "a"}, {"id": "A"}]), TaskGraph)


NAMES = (
    "HEAD^{/(a*)*b}", ":/first", "HEAD^{/(((a{9999}){9999}){9999}", "-x", "--all", "a..b", "x\ny", "x\0y",
    "@{-1}",
    "y" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_revision_is_the_name_of_a_commit_and_no_search(repo: Repository, name: str) -> None:
    with pytest.raises((UnknownRevision, UserError)):
        resolve(repo, name)
    with pytest.raises(UserError):
        valid_branch(repo, name)


def test_json_that_is_read_can_be_written(repo: Repository) -> None:
    assert json.dumps(read_json("[" * DEPTH + "]" * DEPTH))
