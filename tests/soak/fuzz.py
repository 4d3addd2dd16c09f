"""Random texts, expressions, stored values and calls: each ends, and none raises what nobody documented.

``python -m tests.soak.fuzz --seconds S`` goes on with new seeds for so long. ``tests/hostile/test_fuzz.py``
does a few hundred of each, always the same ones.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stratum_git.core import codec
from stratum_git.core.engine import advance, begin
from stratum_git.core.expr import Broken, Value, evaluate, judge
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.rebuild import rebuild
from stratum_git.core.schema import schema_breaches
from stratum_git.core.taskgraph import read_graph
from stratum_git.core.template import render
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Answered, Completed, Opened, Started, TaskReported
from stratum_git.model.spec import Spec
from stratum_git.model.state import Program
from tests.core.files import files_of

LIMIT = 20.0
"""Seconds that one example may take of the processor."""
SPEC = """\
version: "0.4"
contracts:
  Out: {ok: {type: boolean}}
functions:
  make: {mode: infer, intent: make it, output: Out, ensure: [result.ok], retries: 2}
  look: {mode: gate, timeout: 900}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: plan, function: make, inputs: {a: $.input.tasks}}
      - id: build
        type: parallel_dispatch
        depends_on: [plan]
        source: $.input.tasks
        intent_template: "do {task.id}"
        require: all
      - {id: look, function: look, depends_on: [build], on_approve: null, on_revise: build, on_kill: null}
"""
PIECES = (
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!!python/object:os.x ",
    "|\n",
    ">\n",
    "'",
    '"',
    "\\",
    "\t",
    "\0",
    "\ufeff",
    "#",
    "---\n",
    "...\n",
    "%YAML 9\n",
    "null",
    "~",
    "yes",
    "1e999",
    "0x_",
    "12:30",
    "\u2028",
    "\U0001f600",
    "$.steps.x.output",
    "$.input",
    "{task.x}",
    "ensure",
    "max_iterations",
    "999999999999",
)
ATOMS = (
    "0",
    "1",
    "7",
    "2.5",
    "-3",
    "true",
    "false",
    "null",
    "'a'",
    "'ab'",
    "''",
    "[]",
    "[1, 2]",
    "{}",
    "{'a': 1}",
    "x",
    "result",
    "result.a",
    "x[0]",
    "().__class__",
    "f'{x}'",
    "lambda: 1",
    "9**9**9",
    "'a' * 10**9",
    "(y := 1)",
)
FORMS = (
    "({} + {})",
    "({} * {})",
    "({} - {})",
    "({} // {})",
    "({} % {})",
    "({} ** {})",
    "({} / {})",
    "({} < {})",
    "({} == {})",
    "({} in {})",
    "({} and {})",
    "({} or {})",
    "(not {})",
    "len({})",
    "str({})",
    "sorted({})",
    "sum({})",
    "max({}, {})",
    "[z for z in {} if {}]",
    "({} if {} else {})",
    "{}.get({})",
    "{}[{}]",
    "any({})",
    "{{z: {} for z in {}}}",
    "{}.split({})",
    "{}.join({})",
    "round({}, {})",
    "no_file_conflicts({})",
    "{}.a.b",
    "file_contains({}, {})",
    "plan_completion({}, {})",
    "int({})",
    "abs({})",
    "{}[{}:{}]",
)
SAFE_ATOMS = ("0", "1", "7", "2.5", "-3", "True", "False", "'a'", "'ab'", "[1, 2]", "[3]")
SAFE_FORMS = (
    "({} + {})",
    "({} * {})",
    "({} - {})",
    "({} < {})",
    "({} == {})",
    "({} != {})",
    "({} and {})",
    "({} or {})",
    "(not {})",
    "len({})",
    "abs({})",
    "sorted({})",
    "sum({})",
    "({} if {} else {})",
    "[z for z in {}]",
    "bool({})",
)
KEYS = ("id", "type", "a", "depends_on", "files_owned", "$ref", "pattern", "")
VALUES: tuple[Json, ...] = (
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "a",
    "../x",
    "--output=x",
    "\0",
    "\x1b[2J",
    "a" * 5000,
    [],
    {},
    [[]],
    {"type": "x"},
    {"id": "a"},
    [{"id": "a"}],
    "$.input.a",
    "refs/heads/x",
    "9" * 500,
    {"a": {"a": {"a": 1}}},
    "\u202e",
    "{task.id}",
)


@dataclass
class Tally:
    """What was tried, and what came of it."""

    examples: int = 0
    crashes: int = 0
    hung: int = 0
    notes: list[str] = field(default_factory=list)

    def try_one(self, what: str, example: object, work: Callable[[], None]) -> None:
        """Does *work* and notes what it should not have done."""
        self.examples += 1
        before = time.process_time()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            self.crashes += 1
            self.notes.append(f"{what}: {type(error).__name__}: {error}: {str(example)[:400]!r}")
        if time.process_time() - before > LIMIT:
            self.hung += 1
            self.notes.append(f"{what} took {time.process_time() - before:.1f} s: {str(example)[:400]!r}")


class Files:
    """Files for expressions: one with text, one without."""

    def exists(self, path: str) -> bool:
        return path == "a"

    def text(self, path: str) -> str | None:
        return "text" if path == "a" else None

    def changed(self, base: str) -> tuple[str, ...]:
        return ("a",)


def mutated(draw: random.Random, text: str) -> str:
    """Returns a text with some of it gone, doubled, moved, or other things in it."""
    for _ in range(draw.randint(1, 6)):
        at, end = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + 40)
        match draw.randrange(5):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:end] * draw.choice((1, 2, 50)) + text[end:]
            case 2:
                text = text[:at] + "".join(draw.choices(PIECES, k=draw.randint(1, 4))) + text[at:]
            case 3:
                odd = chr(draw.choice((draw.randrange(0x250), draw.randrange(0x11000))))
                text = text[:at] + odd + text[at:]
            case _:
                text = text[:at] + text[at:end][::-1] + text[end:]
    return text


def expression(draw: random.Random, depth: int, atoms: tuple[str, ...], forms: tuple[str, ...]) -> str:
    """Returns an expression that is nested so deep at most."""
    if depth == 0 or draw.random() < 0.2:
        return draw.choice(atoms)
    form = draw.choice(forms)
    holes = form.replace("{{", "").replace("}}", "").count("{}")
    return form.format(*(expression(draw, depth - 1, atoms, forms) for _ in range(holes)))


def some_json(draw: random.Random, depth: int = 3) -> Json:
    """Returns a value, odd more often than not."""
    if depth == 0 or draw.random() < 0.5:
        return draw.choice(VALUES)
    if draw.random() < 0.5:
        return [some_json(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {draw.choice(KEYS): some_json(draw, depth - 1) for _ in range(draw.randrange(4))}


def changed(draw: random.Random, value: Json) -> Json:
    """Returns a value with one thing in it, at some depth, that does not belong there."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        if draw.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        return [*value[:at], changed(draw, value[at]), *value[at + 1 :]]
    return some_json(draw, 2)


def try_spec(draw: random.Random, tally: Tally) -> None:
    """Reads and compiles a spec that somebody broke."""
    text = mutated(draw, SPEC if draw.random() < 0.9 else "".join(draw.choices(PIECES, k=40)))

    def work() -> None:
        loaded = load_spec(text)
        assert (loaded.spec is None) is bool(loaded.problems)
        if loaded.spec is not None:
            compile_program(loaded.spec, "main")

    tally.try_one("spec", text, work)


def try_expression(draw: random.Random, tally: Tally) -> None:
    """Evaluates an expression of all there is, and one that Python can be asked about."""
    source = expression(draw, 4, ATOMS, FORMS)
    names: Mapping[str, Json] = {"x": [1, "a"], "result": {"a": 1}}

    def work() -> None:
        assert isinstance(evaluate(source, names, Files()), Value | Broken)
        judge([source, mutated(draw, source)], names, Files())

    tally.try_one("expression", source, work)
    plain = expression(draw, 3, SAFE_ATOMS, SAFE_FORMS)

    def compare() -> None:
        found = evaluate(plain, {}, None)
        if isinstance(found, Value):
            assert repr(found.value) == repr(eval(plain, {}))

    tally.try_one("formula", plain, compare)


def try_values(draw: random.Random, tally: Tally) -> None:
    """Reads task graphs, templates and schemas of odd values."""
    value, other = some_json(draw), some_json(draw)
    fields: dict[str, Json] = {"id": value, "x": other}
    schema: dict[str, Json] = (
        other if isinstance(other, dict) else {"items": {"pattern": "(a|aa)+$"}, "uniqueItems": True}
    )
    tally.try_one("graph", value, lambda: void(read_graph([value, fields])))
    tally.try_one("template", value, lambda: void(render("{task.x}{task.id.a}{input.x}", fields, fields)))
    tally.try_one("schema", schema, lambda: void(schema_breaches(schema, value)))


def try_stored(draw: random.Random, tally: Tally, program: Program, whole: dict[str, bytes]) -> None:
    """Rebuilds a flow of whose files one was changed."""
    name = draw.choice(list(whole))
    if draw.random() < 0.3:
        data = bytes(draw.randrange(256) for _ in range(draw.randrange(200)))
    else:
        value = codec.load(whole[name])
        for _ in range(draw.randint(1, 3)):
            value = changed(draw, value)
        data = codec.dump(value)

    def work() -> None:
        try:
            state = rebuild(program, {**whole, name: data})
            codec.dump(codec.encode(state.book))
        except UserError:
            pass

    tally.try_one("stored", data, work)


def void(_: object) -> None:
    """Takes no notice of a result: that it came is all."""


def stored_flow() -> tuple[Program, dict[str, bytes]]:
    """Returns a program, and the files of a flow of it that is at its fan-out, half done."""
    program = compile_program(spec_of(SPEC), "main")
    assert isinstance(program, Program)
    main, base = RefName("refs/heads/main"), Oid("b" * 40)
    tasks: Json = [{"id": "a"}, {"id": "b", "depends_on": ["a"], "files_owned": ["x/*"]}, {"id": "c"}]
    state, _ = begin(program, Started(0.0, "me", FlowId("f"), "main", {"tasks": tasks}, base, main, "client"))
    plan, build, task = StepId("plan"), StepId("build"), TaskId("a")
    done = Completed(base, Oid("c" * 40), {"ok": True})
    for event in (
        Answered(1.0, "me", plan, {"ok": True}, "ok"),
        Opened(2.0, "me", build, base, main),
        TaskReported(3.0, "me", build, task, 1, done),
    ):
        state, _ = advance(state, event)
    return program, files_of(state)


def spec_of(text: str) -> Spec:
    """Returns the spec of a text that holds one."""
    loaded = load_spec(text)
    assert loaded.spec is not None, loaded.problems
    return loaded.spec


def rounds(seed: int, count: int | None, seconds: float | None) -> Tally:
    """Tries examples until *count* of each are done, or *seconds* are over."""
    draw, tally, end = random.Random(seed), Tally(), time.monotonic() + (seconds or 1e9)
    program, whole = stored_flow()
    done = 0
    while time.monotonic() < end and (count is None or done < count):
        done += 1
        try_spec(draw, tally)
        try_expression(draw, tally)
        try_values(draw, tally)
        try_stored(draw, tally, program, whole)
    return tally


def main() -> int:
    """Goes on with new seeds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    before = time.monotonic()
    tally = rounds(seed, None, options.seconds)
    for note in tally.notes:
        print(note, file=sys.stderr)
    row = {"what": "fuzz", "examples": tally.examples, "crashes": tally.crashes, "hung": tally.hung}
    print(json.dumps({**row, "seed": seed, "seconds": round(time.monotonic() - before, 1)}))
    return 1 if tally.crashes or tally.hung else 0


if __name__ == "__main__":
    sys.exit(main())
