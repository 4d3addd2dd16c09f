"""Another version of a spec: only the version changes, or nothing does."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.migrate import Migrated, Refused, migrate
from stratum_git.core.parse import load_spec
from stratum_git.core.shape import VERSIONS
from stratum_git.model.spec import Version

STEPS = "{a: {steps: [{id: x, intent: 'version: 0.3'}]}}"
BODY = f"flows: {STEPS}\n"
EVERYWHERE = """\
version: "0.1"
contracts: {C: {done: {type: boolean}}}
functions: {f: {mode: infer, intent: do it, input: {}, output: C}}
flows: {a: {input: {}, output: C, steps: [{id: x, function: f, inputs: {}}]}}
"""
NEW = """\
version: "0.4"
flows:
  a:
    input: {t: {}}
    steps:
      - id: x
        type: parallel_dispatch
        source: $.input.t
        intent_template: do {task.id}
        merge: squash
        task_retries: 1
"""


def migrated(text: str, to: Version) -> str:
    found = migrate(text, to)
    assert isinstance(found, Migrated), found
    return found.text


def refused(text: str, to: Version) -> Refused:
    found = migrate(text, to)
    assert isinstance(found, Refused)
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'version: "0.3"\n{BODY}', f'version: "0.4"\n{BODY}'),
        (f"version: '0.3'  # was 0.2\n{BODY}", f"version: '0.4'  # was 0.2\n{BODY}"),
        (f"version: 0.3\n{BODY}", f"version: 0.4\n{BODY}"),
        (f"version:   0.30 # x\n{BODY}", f"version:   0.4 # x\n{BODY}"),
        (f"version: 3.0e-1\n{BODY}", f"version: 0.4\n{BODY}"),
        (f'version: "0\\x2e3"\n{BODY}', f'version: "0.4"\n{BODY}'),
        (f"# version: 0.3\n\n{BODY}version: 0.3", f"# version: 0.3\n\n{BODY}version: 0.4"),
        (f'version: "0.3"\r\n# c\r\n{BODY}\r\n', f'version: "0.4"\r\n# c\r\n{BODY}\r\n'),
        (f'\ufeffversion: "0.3"\n{BODY}', f'\ufeffversion: "0.4"\n{BODY}'),
        (f'# é 𝄞 \u2028# x\nversion: "0.3"\n{BODY}', f'# é 𝄞 \u2028# x\nversion: "0.4"\n{BODY}'),
        (f'{{"flows": {STEPS}, "version": "0.3"}}', f'{{"flows": {STEPS}, "version": "0.4"}}'),
        (f'{{version: "0.3", flows: {STEPS}}}', f'{{version: "0.4", flows: {STEPS}}}'),
        (f'%YAML 1.1\n---\nversion : "0.3"\n{BODY}...\n', f'%YAML 1.1\n---\nversion : "0.4"\n{BODY}...\n'),
        (f'version:\n  # here\n  "0.3"\n{BODY}', f'version:\n  # here\n  "0.4"\n{BODY}'),
        (f'? version\n: "0.3"\n{BODY}', f'? version\n: "0.4"\n{BODY}'),
        (f"version: |- # 0.3\n  0.3\n{BODY}", f"version: |- # 0.3\n  0.4\n{BODY}"),
        (f'version: &v "0.3"\n{BODY}', f'version: &v "0.4"\n{BODY}'),
        (f"&r version: !!str &v 0.3\n{BODY}", f"&r version: !!str &v 0.4\n{BODY}"),
        (
            "contracts: {C: {f: {type: &v '0.3', version: 0.3}}}\nversion: *v\n" + BODY,
            "contracts: {C: {f: {type: &v '0.3', version: 0.3}}}\nversion: \"0.4\"\n" + BODY,
        ),
        (
            "contracts:\n  version: {version: {type: string}}\nversion: '0.3'\n" + BODY,
            "contracts:\n  version: {version: {type: string}}\nversion: '0.4'\n" + BODY,
        ),
    ],
)
def test_only_the_version_is_rewritten(before: str, after: str) -> None:
    assert load_spec(before).problems == ()
    assert migrated(before, "0.4") == after
    assert load_spec(after).problems == ()


@pytest.mark.parametrize("to", VERSIONS)
@pytest.mark.parametrize("was", VERSIONS)
def test_what_every_version_has_goes_up_and_down(was: Version, to: Version) -> None:
    text = EVERYWHERE.replace("0.1", was)
    assert migrate(text, to) == Migrated(EVERYWHERE.replace("0.1", to), was, 1)


def test_the_line_is_that_of_the_version() -> None:
    assert migrate(f"# one\n\n{BODY}version: 0.3\n", "0.4") == Migrated(
        f"# one\n\n{BODY}version: 0.4\n", "0.3", 4
    )


COMMENTS = st.lists(st.sampled_from(["# version: 0.3", "", "# 𝄞 é \u2028# x", "   # - [ ]", "#"]), max_size=3)
KEYS = {
    "version": ['version: "0.3"', "version: 0.3", "'version' : '0.3'   # 0.3", "version: &v !!str 0.3"],
    "contracts": ["contracts: {version: {version: {type: '0.3'}}}", "contracts:\n  C: {f: {type: x}} # 0.3"],
    "flows": [
        f"flows: {STEPS}",
        "flows:\n  version:\n    steps:\n    - id: version\n      intent: |\n        version: 0.3\n",
    ],
}  # fmt: skip


@given(
    st.permutations(list(KEYS)),
    st.fixed_dictionaries({key: st.sampled_from(ways) for key, ways in KEYS.items()}),
    st.lists(COMMENTS, min_size=4, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.booleans(),
)
def test_wherever_the_version_stands_everything_else_stays(
    order: list[str], ways: dict[str, str], comments: list[list[str]], end: str, mark: str, ends: bool
) -> None:
    def text(version: str) -> str:
        lines = list(comments[0])
        for key, more in zip(order, comments[1:], strict=True):
            lines += [version if key == "version" else ways[key], *more]
        return mark + end.join(lines).replace("\r\n", "\n").replace("\n", end) + (end if ends else "")

    before = text(ways["version"])
    head, comment, tail = ways["version"].partition("#")
    assert migrated(before, "0.4") == text(head.replace("0.3", "0.4") + comment + tail)
    assert migrated(migrated(before, "0.4"), "0.3") == before


@given(st.text(max_size=60))
def test_no_text_is_too_strange(text: str) -> None:
    found = migrate(f'version: "0.3"\n{text}', "0.4")
    assert isinstance(found, Refused) or found.text == f'version: "0.4"\n{text}'


@pytest.mark.parametrize(
    ("text", "to", "why", "places"),
    [
        ("version: 0.3\nflows: 3\n", "0.4", "the spec is not valid", ["flows"]),
        (f"version: 0.5\n{BODY}", "0.4", "the spec is not valid", ["version"]),
        ("", "0.4", "the spec is not valid", [""]),
        (f"<<: {{version: '0.3'}}\n{BODY}", "0.4", "the version is not written in the file's own map", []),
        (
            "version: &v '0.3'\nflows: {a: {steps: [{id: x, intent: *v}]}}",
            "0.4",
            "it would mean something else in version 0.4",
            [],
        ),
        (
            "version: &v '0.3'\ncontracts: {C: {f: {type: string, note: *v}}}\n" + BODY,
            "0.4",
            "it would mean something else in version 0.4",
            [],
        ),
        (
            NEW,
            "0.3",
            "it would not be valid in version 0.3",
            ["flows.a.steps.x.merge", "flows.a.steps.x.task_retries"],
        ),
        (
            f"version: '0.3'\n{BODY}",
            "0.1",
            "it would not be valid in version 0.1",
            ["flows.a.output", *(f"flows.a.steps.x.{name}" for name in ("function", "inputs", "intent"))],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_places(
    text: str, to: Version, why: str, places: list[str]
) -> None:
    found = refused(text, to)
    assert (found.why, sorted(problem.path for problem in found.problems)) == (why, places)


def test_both_parsers_count_alike() -> None:
    text = '# é 𝄞 \u2028\u0085\r\na: ["x\u2028 y", 𝄞]\r\nversion: "0.3"\n'
    places = [
        [(token.start_mark.index, token.end_mark.index) for token in yaml.scan(text, Loader=loader)]
        for loader in (yaml.CSafeLoader, yaml.SafeLoader)
    ]
    assert places[0][1:-1] == places[1][1:-1]
