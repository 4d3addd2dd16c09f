"""The verbs that do something: run, resume, cancel."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import trio

from stratum_git.app import running
from stratum_git.app.checking import read_spec
from stratum_git.app.costs import spent_row
from stratum_git.app.entering import mounting
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.inputs import read_input
from stratum_git.cli.progress import Live, Plain, make_progress
from stratum_git.cli.words import say
from stratum_git.dispatch.notices import Remark, Watcher
from stratum_git.errors import StratumError
from stratum_git.model.ids import FlowId
from stratum_git.model.state import Failed, FlowState, Landing

YES, NO, WORLD_FAILED, INTERRUPTED = 0, 1, 3, 130

Work = Callable[[Watcher, running.Handle], Awaitable[FlowState]]


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``run``."""
    parser.add_argument("spec", type=Path, metavar="SPEC", help="a .stratum.yaml file")
    parser.add_argument("--flow", metavar="F", help="which flow of the file; needed when it has several")
    parser.add_argument(
        "--input", action="append", default=[], metavar="K=V", help="an input: K=V, or K=@FILE"
    )
    parser.add_argument(
        "--target", metavar="BRANCH", help="the branch that results land on (default: HEAD's)"
    )
    _common(parser)


def run(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Runs a flow; 0 when it is complete, 1 when it is not."""
    request = running.RunRequest(
        spec=read_spec(options.spec),
        flow=options.flow,
        inputs=dict(read_input(text, cwd) for text in options.input),
        agents=tuple(options.agent),
        target=options.target,
    )
    around = Surroundings(cwd, environment)
    with mounting(around) as why_not:
        return _watched(options, partial(running.run, around, request), why_not)


def resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``resume``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    _common(parser)


def resume(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Takes a flow up; answers as ``run`` does."""
    around, flow = Surroundings(cwd, environment), FlowId(options.flow)
    with mounting(around, flow) as why_not:
        work = partial(running.resume, around, flow, options.agent)
        return _watched(options, work, why_not)


def cancel_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``cancel``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", nargs="?", metavar="TASK", help="only this task of the current step")
    parser.add_argument(
        "--why", default="cancelled by the user", metavar="TEXT", help="the reason, for the history"
    )
    _common(parser)


def cancel(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Stops a flow or a task; 0 when that is done, or asked for and heard."""
    around = Surroundings(cwd, environment)

    async def work(watch: Watcher, _: running.Handle) -> FlowState:
        return await running.cancel(around, FlowId(options.flow), options.task, options.why, watch)

    code = _watched(options, work)
    return YES if code == NO else code


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="an agent: a kind such as claude, or any command; `default` does what names none",
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON, on standard output")
    parser.add_argument("--quiet", action="store_true", help="say nothing while it runs")


def _watched(options: argparse.Namespace, work: Work, why_not: str = "") -> int:
    progress = make_progress(sys.stderr, quiet=options.quiet)
    if why_not:
        progress(Remark(f"slots: nothing can be mounted: {why_not}"))
    ended: tuple[FlowState, bool] | BaseExceptionGroup[StratumError | OSError]
    try:
        ended = trio.run(partial(_supervised, work, progress))
    except* (StratumError, OSError) as group:
        ended = group
    finally:
        progress.close()
    if isinstance(ended, BaseExceptionGroup):
        # Not in there: what is raised there is a group again for Python before 3.11.4.
        raise _first(ended) from ended
    state, interrupted = ended
    return _answer(state, interrupted=interrupted, as_json=options.json)


async def _supervised(work: Work, progress: Plain | Live) -> tuple[FlowState, bool]:
    handle = running.Handle()
    interrupted = False

    async def signals() -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
            async for _ in received:
                if interrupted:
                    # The tethers of the agents see this process end, and end what they hold.
                    raise KeyboardInterrupt
                interrupted = True
                print("stopping; the work so far is kept (once more: at once)", file=sys.stderr)
                handle.interrupt()

    async def clock() -> None:
        while True:
            await trio.sleep(0.25)
            progress.tick()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(signals)
        nursery.start_soon(clock)
        state = await work(progress, handle)
        nursery.cancel_scope.cancel()
    return state, interrupted


def _answer(state: FlowState, *, interrupted: bool, as_json: bool) -> int:
    if as_json:
        row = {"flow_id": state.flow, "status": state.status, "target": state.target, **spent_row(state)}
        print(json.dumps(row, indent=2))
    else:
        for line in _ending(state, interrupted=interrupted or state.paused):
            say(line)
    if interrupted:
        return INTERRUPTED
    waits = state.driver == "client" and state.status == "running"
    return YES if state.status == "complete" or waits else NO


def _ending(state: FlowState, *, interrupted: bool) -> list[str]:
    flow = state.flow
    now = state.step(state.cursor) if state.cursor is not None else None
    if interrupted and state.status == "running":
        return [f"The flow {flow} is interrupted. `stratum-git resume {flow}` goes on."]
    match state.status:
        case "awaiting_gate":
            return [
                f"The flow {flow} waits at the gate {state.cursor}.",
                f"`stratum-git gate approve {flow} {state.cursor}` lets it go on.",
            ]
        case "blocked":
            why = now.blocked if isinstance(now, Landing) else ()
            return [
                f"The flow {flow} is blocked: {', '.join(why)}",
                f"`stratum-git resume {flow}` tries again.",
            ]
        case "failed":
            why = now.findings if isinstance(now, Failed) else ()
            return [f"The flow {flow} failed at {state.cursor}:", *(f"  {line}" for line in why)]
        case "running" if state.driver == "client":
            return [f"The flow {flow} waits for its client at {state.cursor}."]
        case "running":
            return [f"The flow {flow} goes on; whoever runs it has been told."]
        case _:
            return [f"The flow {flow} is {state.status}. `stratum-git log {flow}` tells its story."]


def _first(group: BaseExceptionGroup[StratumError | OSError]) -> StratumError | OSError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, StratumError | OSError):
        return error
    raise error
