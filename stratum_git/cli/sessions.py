"""The verb for one agent at one conversation: session run, continue, verify, close."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import trio

from stratum_git.app import detached, sessions, sessions_told, verifying
from stratum_git.app.desk import Desk
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.core.answers import Answer
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.spec import Command

YES, NO, WORLD_FAILED = 0, 1, 3
PATIENCE, PAUSE = 10.0, 0.05
PASSES = frozenset({"pass", "pass_with_restrictions"})


def session_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``session``."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    run = acts.add_parser("run", help="begin one: an agent, a slot and a branch of its own")
    run.add_argument("prompt", metavar="PROMPT", help="what to tell the agent; - reads standard input")
    run.add_argument("--profile", choices=("general", "verification"), default="general")
    run.add_argument("--base", metavar="COMMIT", help="where it begins; HEAD if nothing is said")
    run.add_argument(
        "--verify", action="append", default=[], metavar="COMMAND", help="a result has to pass it"
    )
    run.add_argument("--schema", metavar="FILE", help="the JSON Schema of what the agent is to return")
    more = acts.add_parser("continue", help="say more in the same conversation, in the same slot")
    more.add_argument("session", metavar="SESSION")
    more.add_argument("prompt", metavar="MESSAGE", help="what to tell the agent; - reads standard input")
    look = acts.add_parser("verify", help="commands first, then a reviewer who may only read")
    look.add_argument(
        "work", metavar="SESSION|FLOW|COMMITS", help="whose work, or commits such as main..HEAD"
    )
    look.add_argument("task", nargs="?", metavar="TASK", help="the task of the flow")
    look.add_argument("--command", action="append", default=[], metavar="COMMAND", help="what has to pass")
    look.add_argument("--criteria", default="", metavar="TEXT", help="what the reviewer goes by")
    end = acts.add_parser("close", help="give the slot back; the branch stays")
    end.add_argument("session", metavar="SESSION")
    for act in (run, more, look):
        act.add_argument("--agent", metavar="NAME[=COMMAND]", help="who does it")
        act.add_argument("--detach", action="store_true", help="answer at once, and let it go on by itself")
    for act in (run, look):
        act.add_argument("--timeout", type=float, metavar="S", help="seconds for an attempt")
        act.add_argument("--usd", type=float, metavar="N", help="what an attempt may cost")
    for act in (run, more, look, end):
        act.add_argument("--json", action="store_true", help="answer in JSON")


def session(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Does one of the acts; 1 when a turn failed or work does not pass, 3 when it could not be verified."""
    with closing(Desk(Surroundings(cwd, environment))) as desk:
        match options.act:
            case "close":
                return _closed(
                    options, _called(sessions.close, desk, FlowId(options.session), "closed by the user")
                )
            case "verify":
                begun = _called(verifying.begin, desk, _wanted(options, desk))
                flow = FlowId(str(begun["review_id"]))
                tell: Callable[..., int] = _verdict
            case "continue":
                flow = FlowId(options.session)
                text, agents = _text(options.prompt), _defined(options.agent)
                begun = _called(sessions.proceed, desk, flow, text, agents)
                tell = _turn
            case _:
                begun = _called(sessions.begin, desk, _request(options))
                flow = FlowId(str(begun["session_id"]))
                tell = _turn
        if options.detach:
            return answer(begun) if options.json else _detached(flow)
        _wait(desk, flow, quiet=options.json)
        return tell(desk, flow, as_json=options.json)


def _request(options: argparse.Namespace) -> sessions.Request:
    return sessions.Request(
        prompt=_text(options.prompt),
        agent=_name(options.agent) or "default",
        profile=options.profile,
        schema=None if options.schema is None else _schema(Path(options.schema)),
        base=options.base,
        verify=_commands(options.verify),
        timeout=options.timeout,
        usd=options.usd,
        agents=_defined(options.agent),
    )


def _wanted(options: argparse.Namespace, desk: Desk) -> verifying.Wanted:
    is_flow = options.task is not None or sessions.is_known(desk, options.work)
    return verifying.Wanted(
        flow=FlowId(options.work) if is_flow else None,
        task=options.task,
        commits=None if is_flow else options.work,
        commands=_commands(options.command),
        criteria=options.criteria,
        agent=_name(options.agent),
        timeout=options.timeout,
        usd=options.usd,
        agents=_defined(options.agent),
    )


def _called(work: Callable[..., Answer], *given: object) -> Answer:
    """Returns what *work* does, in a thread as in the server: it waits for a runner to begin."""

    async def call() -> Answer:
        return await trio.to_thread.run_sync(partial(work, *given))

    return trio.run(call)


def _wait(desk: Desk, flow: FlowId, *, quiet: bool) -> None:
    async def wait() -> None:
        tell = (lambda _: None) if quiet else partial(say, to=sys.stderr)
        while (await detached.wait(desk, flow, detached.LONGEST, tell))["status"] != "settled":
            pass
        # What it has to tell others, and to tidy up, comes after that.
        with trio.move_on_after(PATIENCE):
            while await trio.to_thread.run_sync(detached.is_run, desk, flow):  # noqa: ASYNC110 - a lock has no event
                await trio.sleep(PAUSE)

    trio.run(wait)


def _turn(desk: Desk, flow: FlowId, *, as_json: bool) -> int:
    row: dict[str, Any] = sessions_told.session_row(sessions.sight_of(desk), flow)
    turn = row["turns"][-1]
    if as_json:
        answer(row)
    else:
        say(turn["text"] or "(the agent said nothing)")
        for line in turn["findings"]:
            say(f"{turn['kind'] or turn['status']}: {line}", to=sys.stderr)
        if "take" in row:
            say(f"its work is on {row['branch']}; `{row['take']}` takes it", to=sys.stderr)
        say(f"`stratum-git session continue {flow} MESSAGE` goes on", to=sys.stderr)
    return YES if turn["status"] == "done" else NO


def _verdict(desk: Desk, flow: FlowId, *, as_json: bool) -> int:
    row: dict[str, Any] = sessions_told.session_row(sessions.sight_of(desk), flow)
    report = row.get("report") or {"status": "could_not_run", "reasons": row.get("findings") or []}
    if as_json:
        answer(row)
    else:
        say(str(report.get("verdict") or report["status"]))
        for line in (
            *report["reasons"],
            *(f"restriction: {one}" for one in report.get("restrictions") or ()),
        ):
            say(f"  {line}")
    if report["status"] != "verified":
        return WORLD_FAILED
    return YES if report["verdict"] in PASSES else NO


def _closed(options: argparse.Namespace, row: dict[str, Any]) -> int:
    if options.json:
        return answer(row)
    say(f"{row['session_id']} is closed; its work is on {row['branch']}")
    return YES


def _detached(flow: FlowId) -> int:
    say(f"{flow} goes on by itself; `stratum-git query session {flow}` tells how far it is")
    return YES


def _text(given: str) -> str:
    return sys.stdin.read() if given == "-" else given


def _name(agent: str | None) -> str | None:
    return None if agent is None else agent.partition("=")[0]


def _defined(agent: str | None) -> tuple[str, ...]:
    return (agent,) if agent is not None and "=" in agent else ()


def _commands(lines: list[str]) -> tuple[Command, ...]:
    return tuple(("sh", "-c", line) for line in lines)


def _schema(path: Path) -> Json:
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a JSON Schema: {error}") from error
    return found
