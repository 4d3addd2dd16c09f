"""Sessions as the engine has them: by whatever happens in whatever order, one turn at a time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.app.sessions import spec_of
from stratum_git.core import session_words
from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.questions import in_flight, is_over
from stratum_git.core.rebuild import rebuild
from stratum_git.core.sessions import STEP, current, in_short, is_at_rest
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Oid, RefName
from stratum_git.model.messages import (
    CancelRequested,
    Completed,
    Event,
    Halted,
    Landed,
    LandedResult,
    Lost,
    Opened,
    Outcome,
    Rejected,
    Resumed,
    Started,
    StepReported,
    Suspended,
)
from stratum_git.model.sessions import (
    Continued,
    ReviewBegan,
    Reviewed,
    ReviewTask,
    Session,
    SessionClosed,
    SessionTerms,
    SessionTurn,
)
from stratum_git.model.state import FlowState, Landing, Program
from tests.core.files import files_of

BASE, ONE, TWO = Oid("a" * 40), Oid("b" * 40), Oid("c" * 40)
TARGET = RefName("refs/heads/stratum/s/session")


def compiled() -> Program:
    spec = load_spec(spec_of("session", "default")).spec
    assert spec is not None
    found = compile_program(spec, None)
    assert isinstance(found, Program)
    return found


PROGRAM = compiled()


def fresh(terms: SessionTerms | None = None) -> FlowState:
    terms = terms or SessionTerms("default")
    first = Started(1.0, "t", FlowId("s"), "session", {"prompt": "do it"}, BASE, TARGET, session=terms)
    return told(begin(PROGRAM, first)[0], Opened(2.0, "t", STEP, BASE, TARGET))


def told(state: FlowState, *events: Event) -> FlowState:
    for event in events:
        state, _ = advance(state, event)
    return state


def session(state: FlowState) -> Session:
    assert state.book.session is not None
    return state.book.session


def report(state: FlowState, outcome: Outcome) -> StepReported:
    flying = in_flight(state)
    return StepReported(3.0, "t", STEP, flying[0][2] if flying else 1, outcome)


def landed(state: FlowState) -> Landed:
    return Landed(4.0, "t", STEP, TARGET, BASE, TWO, (LandedResult(None, ONE, TWO),))


GO = Continued(5.0, "t", STEP, "more", TWO)
DONE = Completed(BASE, ONE, {"n": 1}, {"session_id": "c1", "usd": 0.5}, "I am done")


def test_a_turn_waits_for_a_runner_and_lands() -> None:
    state = fresh()
    assert in_flight(state) == ()
    state, effects = advance(state, Resumed(2.0, "t"))
    assert effects == (Launch(STEP, None, 1),)
    state = told(state, report(state, DONE))
    assert isinstance(state.step(STEP), Landing)
    assert not is_at_rest(state)
    state = told(state, landed(state))
    assert is_at_rest(state)
    turn = current(session(state))
    assert (turn.status, turn.text, turn.output, turn.commit) == ("done", "I am done", {"n": 1}, TWO)
    assert (turn.base, turn.result, turn.ended) == (BASE, ONE, 4.0)
    assert session(state).conversation == "c1"


def test_of_two_who_continue_the_second_changes_nothing() -> None:
    state = done()
    state, effects = advance(state, GO)
    assert effects == ()
    assert [turn.message for turn in session(state).turns] == ["do it", "more"]
    assert advance(state, replace(GO, message="me too")) == (state, ())
    state, effects = advance(state, Resumed(6.0, "t"))
    assert [effect.attempt for effect in effects if isinstance(effect, Launch)] == [2]


def done() -> FlowState:
    state = told(fresh(), Resumed(2.0, "t"))
    state = told(state, report(state, DONE))
    return told(state, landed(state))


def test_a_closed_session_does_not_go_on_and_one_at_work_is_not_closed() -> None:
    close = SessionClosed(6.0, "t", "enough")
    closed = told(done(), close)
    assert session(closed).closed == 6.0
    assert advance(closed, GO) == (closed, ())
    busy = told(done(), GO)
    assert advance(busy, close) == (busy, ())


def test_a_failed_and_a_cancelled_turn_can_be_gone_on_with() -> None:
    state = told(fresh(), Resumed(2.0, "t"))
    failed = told(state, report(state, Rejected("verify", ("no",), BASE, ONE, {"usd": 1.0})))
    assert (failed.status, current(session(failed)).status) == ("failed", "failed")
    assert current(session(failed)).findings == ("no",)
    again = told(failed, GO, Resumed(7.0, "t"))
    assert in_flight(again) == ((STEP, None, 2),)
    stopped = told(state, CancelRequested(3.0, "t", "enough"), report(state, Halted("enough", ONE)))
    assert current(session(stopped)).status == "cancelled"
    assert told(stopped, GO).status == "running"
    assert told(stopped, GO).cancelling is None


def test_a_lost_attempt_is_made_again_and_its_conversation_is_known() -> None:
    state = told(fresh(), Resumed(2.0, "t"))
    state, effects = advance(state, report(state, Lost("killed", ONE, {"session_id": "early"})))
    (launch,) = effects
    assert isinstance(launch, Launch)
    assert launch.attempt == 2
    assert session(state).conversation == "early"
    assert "cut off" in current(session(state)).note
    assert current(session(state)).status == "running"


def test_a_verification_is_never_gone_on_with() -> None:
    state = told(fresh(SessionTerms("r", "verification", review=ReviewTask(ONE, BASE))), Resumed(2.0, "t"))
    state = told(state, report(state, Completed(ONE, ONE, {"status": "verified"})))
    assert is_over(state)
    assert advance(state, GO) == (state, ())


def test_what_was_found_is_noted_once_in_whatever_state() -> None:
    task, name = ReviewTask(TWO, BASE), FlowId("review-1")
    began, found = ReviewBegan(6.0, "t", name, task), Reviewed(7.0, "t", name, {"verdict": "pass"})
    state = told(done(), began, found)
    assert [(one.review, one.report) for one in state.book.reviews] == [(name, {"verdict": "pass"})]
    assert advance(state, began) == (state, ())
    assert advance(state, replace(found, report={"verdict": "fail_closed"})) == (state, ())
    assert told(done(), GO, found).book.reviews == ()


OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        DONE, Completed(BASE, BASE), Rejected("verify", ("no",), BASE, ONE), Lost("gone"),
        Rejected("readonly", ("file a",), BASE, ONE), Halted("enough"), Lost("x", None, {"session_id": "c2"}),
    ]
)  # fmt: skip
STEPS = st.lists(
    st.sampled_from(["go", "resume", "suspend", "cancel", "close", "land", "report", "review", "reviewed"]),
    max_size=25,
)


@settings(max_examples=50)
@given(STEPS, st.data())
def test_whatever_happens_there_is_one_turn_at_a_time(steps: list[str], data: st.DataObject) -> None:
    state = fresh()
    attempts: list[int] = []
    for step in steps:
        before = state
        state, effects = advance(state, _event(step, state, data))
        attempts += [effect.attempt for effect in effects if isinstance(effect, Launch)]
        turns = session(state).turns
        assert all(turn.status != "running" for turn in turns[:-1])
        assert (turns[-1].status == "running") is (not is_over(state))
        assert len(turns) - len(session(before).turns) in ({0, 1} if is_at_rest(before) else {0})
        assert session(state).closed is None or is_over(state)
        assert rebuild(PROGRAM, files_of(state)) == state
        assert in_short(session(state))
    assert attempts == list(range(1, len(attempts) + 1)), "no number is given twice"


def _event(step: str, state: FlowState, data: st.DataObject) -> Event:
    match step:
        case "go":
            return GO
        case "resume":
            return Resumed(6.0, "t")
        case "suspend":
            return Suspended(6.0, "t")
        case "cancel":
            return CancelRequested(6.0, "t", "enough")
        case "close":
            return SessionClosed(6.0, "t", "")
        case "land":
            return landed(state)
        case "review":
            return ReviewBegan(6.0, "t", FlowId("r"), ReviewTask(ONE, BASE))
        case "reviewed":
            return Reviewed(6.0, "t", FlowId("r"), {})
        case _:
            return report(state, data.draw(OUTCOMES))


# --- words ------------------------------------------------------------------------------------------------


def turn(number: int, text: str, message: str = "say") -> SessionTurn:
    return SessionTurn(number, 1.0, "t", f"{message} {number}", "done", text=text)


def test_former_turns_are_told_whole_and_the_oldest_are_left_out() -> None:
    turns = tuple(turn(number, f"{number}" * 20_000) for number in range(1, 6))
    words = session_words.whole_prompt(Session(SessionTerms("a"), (*turns, turn(6, ""))))
    assert "(turns 1 to 3 are left out: they are too long)" in words
    assert "4" * 20_000 in words
    assert "5" * 20_000 in words
    assert words.endswith("# Now\n\nsay 6\n")


@given(st.lists(st.text(max_size=200), max_size=6), st.integers(0, 5), st.text(max_size=50))
def test_what_an_agent_is_told_is_bounded_and_ends_with_the_message(
    texts: list[str], long: int, message: str
) -> None:
    turns = [turn(n, text * (2000 if n == long else 1)) for n, text in enumerate(texts, 1)]
    last = SessionTurn(len(turns) + 1, 1.0, "t", f"now {message}!")
    words = session_words.whole_prompt(Session(SessionTerms("a"), (*turns, last)))
    assert len(words) < session_words.LONGEST + 2000
    assert words.endswith(f"now {message}!\n")
