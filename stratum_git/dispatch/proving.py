"""Tests the prefixes of a landing, so that the target only ever points at a tree that passed.

Prefixes are built in memory and tested in slots of their own, several at once; which, ``core/proving.py``
says, out of the verdicts alone. Verdicts are kept in the repository (``store/verdicts.py``), so that whoever
lands after a crash, or in another flow, does not test again. The turn to land is not held meanwhile: when the
target has moved by then, the landing is planned again, on what is known.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import assert_never

import trio

from stratum_git.agents.command import inherited
from stratum_git.core.proving import Barren, Colour, Point, Proven, Stuck, Try, decide
from stratum_git.core.proving import Step as Decision
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.checks import Check, Ran, last_attempt, run_check
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.landing import LandingPlan
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.strategies import Prefix
from stratum_git.dispatch.touchdown import Approach, approach, settled
from stratum_git.errors import BugError
from stratum_git.model.ids import StepId
from stratum_git.model.messages import Landed, LandedResult, LandingBlocked, LandingEntry, Mend
from stratum_git.model.proofs import Proof
from stratum_git.model.spec import Command, Dispatch, LandMode
from stratum_git.model.state import FlowState
from stratum_git.store.verdicts import TestId, Verdict, digest_of, id_of, known_verdicts, remember

SHORT = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """What a test is about: a prefix, the task that it ends with, and what is run on it."""

    prefix: Prefix
    task: str
    check: Check


@dataclass(frozen=True, slots=True)
class Passed:
    """What lands has passed; ``proofs`` tell what was tested."""

    plan: LandingPlan
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nothing can land, and nobody's result is to blame; ``findings`` are the last words of the check."""

    reason: str
    findings: tuple[str, ...]


@dataclass
class Prover:
    """Lands one step with everything in it tested, as far as the step wants that.

    ``look`` gives what is to land on the target as it is when asked: the step's landing, or another one.
    ``tell`` hears what comes of the tests, in words.
    """

    context: Context
    state: FlowState
    step: StepId
    coming: Approach | None = None
    look: Callable[[Context, FlowState, StepId], Approach] = approach
    """How the landing is found, on the target as it is."""
    tell: Callable[[str], None] = field(default=lambda _: None)
    known: dict[TestId, Verdict] = field(default_factory=dict)
    cached: set[TestId] = field(default_factory=set)
    suspects: dict[TestId, Ran] = field(default_factory=dict)
    errors: dict[TestId, list[Ran]] = field(default_factory=dict)
    subjects: dict[TestId, Subject] = field(default_factory=dict)
    running: dict[TestId, trio.CancelScope] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)
    surroundings: str = ""
    number: int = 0
    refused: frozenset[Mend] = frozenset()
    """What merged files so that a check failed: they conflict, and whose result it is is not to blame."""

    def begin(self) -> bool:
        """Returns whether anything has to be tested, by what is known in the repository now."""
        coming = self._approached()
        if self._checks or any(_unproven_mends(place.entry) for _, place in coming.walk()):
            told = inherited(self.context.environment)
            self.surroundings = digest_of(told, f"{platform.system()} {platform.machine()}")
            found = known_verdicts(self.context.repo)
            self.cached |= found.keys() - self.known.keys()
            self.known = found | self.known
            self.number = last_attempt(self.context, self.state.flow, self.step)
        return isinstance(self._decision(self._colours()), Try)

    async def prove(self) -> None:
        """Tests until it is known what lands. On cancellation nothing moved, and nothing is left."""
        if not await self.context.git(self.begin):
            return
        self.tell(f"{self.step}: testing what is to land, {self._at_once()}")
        decision = await self.context.git(partial(self._decision, self._colours()))
        async with trio.open_nursery() as nursery:
            while isinstance(decision, Try):
                self._keep_to(decision, nursery)
                await self.changed.wait()
                self.changed = trio.Event()
                decision = await self.context.git(partial(self._decision, self._colours()))
            nursery.cancel_scope.cancel()

    def event(self, state: FlowState) -> Landed | LandingBlocked | None:
        """Returns what the landing of the step comes to; ``None`` when more has to be tested."""
        self.state = state
        match self.conclusion():
            case None:
                return None
            case Passed(plan, proofs):
                return settled(self.context, state, self._before(), plan, proofs)
            case Unproven(reason, findings):
                return LandingBlocked(now(), "stratum-git", self.step, reason, findings)

    def conclusion(self) -> Passed | Unproven | None:
        """Returns what is known of a landing on the target as it is; ``None``: more has to be tested."""
        coming = self._approached()
        match self._decision(self._colours()):
            case Try():
                return None
            case Proven(dropped):
                return self._passed(coming, {item: TestId(test) for item, test in dropped.items()})
            case Barren(test):
                branch = coming.target.removeprefix("refs/heads/")
                reason = f"land_verify fails on {branch} already"
                return Unproven(reason, self.known[TestId(test)].findings)
            case Stuck(test):
                return Unproven("land_verify could not be run", self.errors[TestId(test)][-1].findings)
            case _ as never:
                assert_never(never)

    @property
    def _work(self) -> Dispatch | None:
        work = self.state.program.steps[self.step].work
        return work if isinstance(work, Dispatch) else None

    @property
    def _checks(self) -> tuple[Command, ...]:
        """Returns what every prefix has to pass."""
        return () if self._work is None else self._work.land_verify

    @property
    def _width(self) -> int:
        """Returns how many tests may be under way: as many as attempts, and no more than slots that stay."""
        return 1 if self._work is None else max(1, min(self._work.max_concurrent, self.context.pool.keep))

    def _at_once(self) -> str:
        one_by_one = self._width == 1 or (self._work is not None and self._work.land_mode == "serial")
        return "one by one" if one_by_one else f"up to {self._width} at once"

    # --- what is to be tested ---------------------------------------------------------------------------

    def _approached(self) -> Approach:
        """Returns the landing on the target as it is now."""
        coming = self.coming
        if coming is None or tip_of(self.context, self.state, coming.target) != coming.old:
            coming = self.coming = self.look(self.context, self.state, self.step).without(self.refused)
        return coming

    def _decision(self, colours: Mapping[str, Colour]) -> Decision:
        mode: LandMode = "serial" if self._work is None else self._work.land_mode
        # Where only some prefixes are tested, the whole is not what has to pass.
        mode = mode if self._checks or mode == "serial" else "speculative"
        decision = decide(mode, self._base(), self._points, colours, self._width)
        stale = [test for test in self.cached if test in self.known and not self.known[test].passed]
        if isinstance(decision, Barren) and stale:
            # What blocks has to be true now: somebody may have mended what no digest tells of.
            for test in stale:
                del self.known[test]
            return self._decision(self._colours())
        # Other processes check out what is tested; and who writes an event meanwhile misses what has no name.
        self._before().queue.settle()
        spoiled = self._spoiled(frozenset(decision.dropped)) if isinstance(decision, Proven) else frozenset()
        if spoiled - self.refused:
            self.refused |= spoiled
            self.coming = self._before().without(self.refused)
            return self._decision(colours)
        return decision

    def _spoiled(self, dropped: frozenset[int]) -> frozenset[Mend]:
        """Returns by what those that fail their checks had been merged, other than by git."""
        found: set[Mend] = set()
        for item in sorted(dropped):
            entries = {index: place.entry for index, place in self._before().walk(dropped - {item})}
            found |= _unproven_mends(entries[item])
        return frozenset(found)

    def _colours(self) -> dict[str, Colour]:
        seen: dict[str, Colour] = dict.fromkeys(self.suspects, "suspect")
        seen |= dict.fromkeys((test for test, runs in self.errors.items() if len(runs) > 1), "error")
        seen |= {test: "green" if verdict.passed else "red" for test, verdict in self.known.items()}
        return seen

    def _points(self, dropped: frozenset[int]) -> Iterator[Point]:
        for index, place in self._before().walk(dropped):
            if isinstance(place.entry, LandedResult) and place.entry.commit is not None:
                yield Point(index, self._test(place.prefix, place.entry))

    def _before(self) -> Approach:
        if self.coming is None:
            raise BugError(f"{self.step} was not looked at")
        return self.coming

    def _base(self) -> TestId | None:
        target = self._before().queue.start
        return self._named(target, "", self._checks) if self._checks else None

    def _test(self, prefix: Prefix, entry: LandedResult) -> TestId | None:
        commands = self._checks
        if not commands and _unproven_mends(entry):
            # What more than lines have merged must at least pass what its task has to pass.
            commands = self._verify(entry)
        return self._named(prefix, str(entry.task or self.step), commands) if commands else None

    def _verify(self, entry: LandedResult) -> tuple[Command, ...]:
        fan = fan_of(self.state.step(self.step))
        if self._work is None or fan is None or entry.task is None:
            return ()
        own = fan.graph.tasks[fan.graph.index[entry.task]].verify
        return self._work.verify if own is None else own

    def _named(self, prefix: Prefix, task: str, commands: tuple[Command, ...]) -> TestId:
        setup = () if self._work is None else self._work.setup
        test = id_of(prefix.tree, setup, commands, self.surroundings)
        self.subjects[test] = Subject(prefix, task, Check(setup, commands))
        return test

    # --- testing ----------------------------------------------------------------------------------------

    def _keep_to(self, decision: Try, nursery: trio.Nursery) -> None:
        """Ends the tests that are not wanted any more, and starts those that are."""
        wanted = tuple(map(TestId, decision.tests))
        for test, scope in self.running.items():
            if test not in wanted:
                scope.cancel()
        for test in wanted:
            if test not in self.running:
                self.running[test] = trio.CancelScope()
                self.number += 1
                nursery.start_soon(self._run, test, self.number)

    async def _run(self, test: TestId, number: int) -> None:
        subject = self.subjects[test]
        try:
            with self.running[test]:
                commit = subject.prefix.commit
                ran = await run_check(self.context, self.state.flow, self.step, number, commit, subject.check)
                self._say(subject, ran, again=test in self.suspects)
                await self._note(test, ran)
        finally:
            del self.running[test]
            self.changed.set()

    def _say(self, subject: Subject, ran: Ran, *, again: bool) -> None:
        what = f"up to {subject.task}" if subject.task else "as the target is"
        said = {"pass": "passes", "fail": "fails", "error": "could not be tested"}[ran.verdict]
        more = " the second time" if again else ""
        commit = subject.prefix.commit[:SHORT]
        self.tell(f"{self.step}: {commit}, {what}, {said}{more} ({ran.seconds:.1f} s)")

    async def _note(self, test: TestId, ran: Ran) -> None:
        if ran.verdict == "error":
            self.errors.setdefault(test, []).append(ran)
        elif ran.verdict == "fail" and test not in self.suspects:
            self.suspects[test] = ran
        else:
            passed = ran.verdict == "pass"
            flaky = passed and test in self.suspects
            verdict = Verdict(test, passed, now(), ran.seconds, flaky, ran.findings)
            with trio.CancelScope(shield=True):
                await self.context.git(partial(remember, self.context.repo, self.context.writer, verdict))
            self.known[test] = verdict

    # --- what came of it --------------------------------------------------------------------------------

    def _passed(self, coming: Approach, dropped: Mapping[int, TestId]) -> Passed:
        plan = coming.plan({item: self.known[test].findings for item, test in dropped.items()})
        base = self._base()
        # Last, because it says which commit has which tree then.
        points = (TestId(p.test) for p in list(self._points(frozenset(dropped))) if p.test is not None)
        asked = chain([] if base is None else [base], dropped.values(), points)
        told = (self._proof(test) for test in dict.fromkeys(asked) if test in self.known)
        return Passed(plan, tuple(told))

    def _proof(self, test: TestId) -> Proof:
        verdict, prefix = self.known[test], self.subjects[test].prefix
        return Proof(
            commit=prefix.commit,
            tree=prefix.tree,
            verdict="pass" if verdict.passed else "fail",
            cached=test in self.cached,
            flaky=verdict.flaky,
            seconds=round(verdict.seconds, 3),
        )


def _unproven_mends(entry: LandingEntry) -> set[Mend]:
    """Returns what merged files of a result just now; what an agent or a person made was checked before."""
    mends = entry.mends if isinstance(entry, LandedResult) else ()
    return {mend for mend in mends if mend.rung in {"memory", "driver"}}
