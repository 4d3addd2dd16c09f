"""JSON texts, edited: what is ours comes and goes, and every other byte stays."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.install.documents import Document, document, with_server, without_servers
from stratum_git.install.hook_groups import Hook, with_hooks, without_hooks
from stratum_git.install.json_edit import put_member
from stratum_git.install.json_scan import DEEPEST, NotJsonError, Object, scan
from stratum_git.install.refusing import Unusable
from stratum_git.model.ids import Json

SERVER: dict[str, Json] = {"type": "stdio", "command": "stratum-git", "args": ["mcp"]}
HOOKS = [
    Hook("Stop", None, "stop", {"type": "command", "command": "stratum-git hook stop", "timeout": 10}),
    Hook(
        "PreToolUse", "Bash", "pre-tool-use", {"type": "command", "command": "stratum-git hook pre-tool-use"}
    ),
]
KEYS = st.sampled_from(["mcpServers", "hooks", "Stop", "PreToolUse", "a", "ä", '"', "permissions"])
SPACES = st.text(" \t\n\r", max_size=3)


def written(value: Json, spaces: list[str]) -> str:
    """Writes a value with white space wherever it may be, out of *spaces*, again and again."""
    turn = iter(spaces * 10_000)

    def gap() -> str:
        return next(turn) if spaces else ""

    def go(part: Json) -> str:
        match part:
            case dict():
                rows = [f"{gap()}{json.dumps(k)}{gap()}:{gap()}{go(v)}{gap()}" for k, v in part.items()]
                return "{" + (",".join(rows) or gap()) + "}"
            case list():
                return "[" + (",".join(f"{gap()}{go(v)}{gap()}" for v in part) or gap()) + "]"
            case _:
                return json.dumps(part, ensure_ascii=False)

    return gap() + go(value) + gap()


def values() -> st.SearchStrategy[Json]:
    bare = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
    found: st.SearchStrategy[Json] = st.recursive(
        bare,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=9,
    )
    return found


def documents() -> st.SearchStrategy[tuple[dict[str, Json], str]]:
    """Gives settings and a text that says them, laid out anyhow."""
    hook = st.fixed_dictionaries({"type": st.just("command"), "command": st.text(max_size=5)})
    group = st.fixed_dictionaries(
        {"hooks": st.lists(hook, max_size=2)}, optional={"matcher": st.just("Bash")}
    )
    shaped = {
        "mcpServers": st.dictionaries(
            st.sampled_from(["a", "b"]), st.just({"command": "x", "args": ["mcp"]})
        ),
        "hooks": st.dictionaries(
            st.sampled_from(["Stop", "PreToolUse", "Other"]), st.lists(group, max_size=2)
        ),
    }
    rest = st.dictionaries(st.sampled_from(["z", "permissions", "ö"]), values(), max_size=3)
    whole = st.builds(lambda a, b: {**a, **b}, rest, st.fixed_dictionaries({}, optional=shaped))
    laid_out = st.lists(SPACES, max_size=5)
    dumped = st.sampled_from([None, 2, 4, "\t"])

    def text(value: dict[str, Json], spaces: list[str], indent: str | int | None, returns: bool) -> str:
        said = written(value, spaces) if spaces else json.dumps(value, indent=indent)
        return said.replace("\n", "\r\n") if returns and "\r" not in said else said

    return st.builds(
        lambda v, *how: (cast("dict[str, Json]", v), text(cast("dict[str, Json]", v), *how)),
        whole, laid_out, dumped, st.booleans(),
    )  # fmt: skip


def plus_server(value: dict[str, Json]) -> Json:
    servers = value.get("mcpServers", {})
    assert isinstance(servers, dict)
    return {**value, "mcpServers": {**servers, "stratum": SERVER}}


def plus_hooks(value: dict[str, Json]) -> Json:
    there = value.get("hooks", {})
    assert isinstance(there, dict)
    out: dict[str, Json] = dict(there)
    for hook in HOOKS:
        groups = out.get(hook.event, [])
        assert isinstance(groups, list)
        matcher: dict[str, Json] = {"matcher": hook.matcher} if hook.matcher else {}
        out[hook.event] = [*groups, {**matcher, "hooks": [dict(hook.entry)]}]
    return {**value, "hooks": out}


@settings(max_examples=60)
@given(documents())
def test_what_is_put_in_is_there_and_comes_out_to_the_byte(case: tuple[dict[str, Json], str]) -> None:
    value, text = case
    doc = document(text.encode())
    served, hooked = with_server(doc, ["mcpServers"], "stratum", SERVER), with_hooks(doc, HOOKS)
    assert json.loads(served.text) == plus_server(value)
    assert json.loads(hooked.text) == plus_hooks(value)
    assert list(json.loads(hooked.text))[: len(value)] == list(value)
    assert with_server(served, ["mcpServers"], "stratum", SERVER) == served
    assert with_hooks(hooked, HOOKS) == hooked
    back = without_servers(served, ["mcpServers"], doc), without_hooks(hooked, doc)
    assert [json.loads(one.text) for one in back] == [value, value]
    if value and value.get("mcpServers", 1):
        assert back[0].text == text
    if (
        value
        and value.get("hooks", 1)
        and all(cast("dict[str, list[Json]]", value.get("hooks", {})).values())
    ):
        assert back[1].text == text


@settings(max_examples=40)
@given(documents(), documents())
def test_what_others_add_meanwhile_stays(
    case: tuple[dict[str, Json], str], other: tuple[dict[str, Json], str]
) -> None:
    doc = with_hooks(document(case[1].encode()), HOOKS)
    root = scan(doc.text)
    assert isinstance(root, Object)
    later = Document(put_member(doc.text, root, "later", other[0]))
    left = without_hooks(with_server(later, ["mcpServers"], "s", SERVER), document(case[1].encode()))
    left = without_servers(left, ["mcpServers"], document(case[1].encode()))
    assert json.loads(left.text) == {**case[0], "later": other[0]}


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ('{"a": 1,}', (1, 8), "a comma before }"),
        ('{\n  // mine\n  "a": 1}', (2, 3), "JSON has no comments"),
        ('{"a": 1 /* b */}', (1, 9), "JSON has no comments"),
        ("{'a': 1}", (1, 2), "no key in double quotes"),
        ('{"a" 1}', (1, 6), "no colon"),
        ('{"a": 1 "b": 2}', (1, 9), "no comma"),
        ('{"a": 1, "a": 2}', (1, 10), "there twice"),
        ('{"a": nul}', (1, 7), "no value"),
        ('{"a": NaN}', (1, 7), "no value"),
        ('{"a": 01}', (1, 7), "no value"),
        ('{"a": "x\n"}', (1, 9), "invalid control character"),
        ('{"a": "x', (1, 7), "unterminated string"),
        ('{"a": 1', (1, 8), "it ends too early"),
        ('{"a": [1,', (1, 10), "it ends too early"),
        ("{} {}", (1, 4), "something after the end"),
        ("[" * (DEEPEST + 2), (1, DEEPEST + 2), "levels deep"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_with_its_place(text: str, place: tuple[int, int], why: str) -> None:
    with pytest.raises(NotJsonError) as caught:
        scan(text)
    assert (caught.value.line, caught.value.column) == place
    assert why in str(caught.value)
    assert caught.value.hint


@given(st.text(' {}[]:,"tru1e-\\n\n', max_size=12))
def test_it_takes_what_json_takes(text: str) -> None:
    assert bool(why_not(text)) is not_json(text) or "twice" in why_not(text)


def not_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


def why_not(text: str) -> str:
    try:
        scan(text)
    except NotJsonError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[]", "it is no JSON object"),
        (b'{"mcpServers": []}', "mcpServers is no JSON object"),
        (b'{"mcpServers": {"stratum": 1}}', "already, which is no object"),
        (b'{"mcpServers": {"stratum": {"command": "stratum-mcp"}}}', "already, which is stratum-mcp"),
        (b'{"mcpServers": {"stratum": {"url": "http://x"}}}', "already, which is http://x"),
        (b'\xef\xbb\xbf{"a": "\xff"}', "byte 10 is not UTF-8"),
    ],
)
def test_servers_that_are_something_else_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(Unusable) as caught:
        with_server(document(data), ["mcpServers"], "stratum", SERVER)
    assert why in caught.value.why


@pytest.mark.parametrize("data", [b'{"hooks": []}', b'{"hooks": {"Stop": {}}}'])
def test_hooks_that_are_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(Unusable):
        with_hooks(document(data), HOOKS)


def test_layouts_are_kept() -> None:
    for before, after in (
        ("{}", '{\n  "x": {\n    "y": 1\n  }\n}'),
        ('{"a":1,"b":2}', '{"a":1,"b":2,"x":{"y":1}}'),
        ('{"a": 1}', '{"a": 1, "x": {"y": 1}}'),
        ('{\n\t"a": 1\n}\n', '{\n\t"a": 1,\n\t"x": {\n\t\t"y": 1\n\t}\n}\n'),
        ('{\r\n    "a": 1\r\n}', '{\r\n    "a": 1,\r\n    "x": {\r\n        "y": 1\r\n    }\r\n}'),
        ('{\n  "a": {"b": 1}, "c": []\n}', '{\n  "a": {"b": 1}, "c": [],\n  "x": {\n    "y": 1\n  }\n}'),
    ):
        assert document(before.encode()).put(["x"], {"y": 1}).text == after


def test_a_byte_order_mark_stays() -> None:
    doc = document(b'\xef\xbb\xbf{"a": 1}')
    assert with_server(doc, ["mcpServers"], "s", SERVER).data().startswith(b'\xef\xbb\xbf{"a": 1, ')


def test_a_server_of_ours_keeps_what_it_was_given() -> None:
    text = (
        '{"mcpServers": {"stratum": {"command": "/old/stratum-git", "args": ["mcp", "--toolsets", "runs"], '
        '"env": {"A": "1"}}}}'
    )
    doc = with_server(document(text.encode()), ["mcpServers"], "stratum", SERVER)
    assert doc.text == text.replace("/old/stratum-git", "stratum-git")
    words: dict[str, Json] = {"command": "/py", "args": ["-P", "-m", "stratum_git", "mcp"]}
    doc = with_server(doc, ["mcpServers"], "stratum", words)
    assert json.loads(doc.text)["mcpServers"]["stratum"] == {
        "command": "/py", "args": ["-P", "-m", "stratum_git", "mcp", "--toolsets", "runs"], "env": {"A": "1"},
    }  # fmt: skip
    assert without_servers(doc, ["mcpServers"], None).text == "{}"


def test_a_hook_of_ours_keeps_its_timeout_and_those_who_joined_it() -> None:
    text = (
        '{"hooks": {"Stop": [{"hooks": [{"command": "mine"}, {"command": "/old/stratum-git hook stop", '
        '"timeout": 99}]}, {"hooks": [{"command": "stratum-git hook stop"}]}], "Gone": [{"hooks": '
        '[{"command": "stratum-git hook gone"}]}]}}'
    )
    doc = with_hooks(document(text.encode()), HOOKS[:1])
    kept = [{"command": "mine"}, {"command": "stratum-git hook stop", "timeout": 99}]
    assert json.loads(doc.text) == {"hooks": {"Stop": [{"hooks": kept}]}}
    assert json.loads(without_hooks(doc, None).text) == {
        "hooks": {"Stop": [{"hooks": [{"command": "mine"}]}]}
    }


def test_files_that_are_meant_to_take_for_ever_are_refused() -> None:
    hook = '{"hooks": [{"command": "stratum-git hook x"}]}'
    many = f'{{"hooks": {{"Stop": [{", ".join([hook] * 5000)}]}}}}'
    with pytest.raises(Unusable, match="more than"):
        with_hooks(document(many.encode()), HOOKS)
    servers = ", ".join(f'"s{number}": {json.dumps(SERVER)}' for number in range(5000))
    with pytest.raises(Unusable, match="more than"):
        without_servers(document(f'{{"mcpServers": {{{servers}}}}}'.encode()), ["mcpServers"], None)
