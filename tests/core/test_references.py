import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.references import Found, Unresolved, inputs_named, resolve, steps_named
from stratum_git.model.ids import Json, StepId

INPUTS: dict[str, Json] = {"name": "Ada", "deep": {"a": [{"b": 1}, None]}, "none": None}
OUTPUTS: dict[StepId, Json] = {
    StepId("plan"): {"tasks": [{"id": "x"}, {"id": "y"}], "output": {"k": 2}, "0": "zero", "null": None},
    StepId("plan.v2"): {"a": 1},
    StepId("plan.output.x"): {"a": 2},
    StepId("skipped"): None,
    StepId("list"): ["p", "q"],
}


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("plain text", "plain text"),
        ("", ""),
        (" $.input.name", " $.input.name"),
        ("$.input.name", "Ada"),
        ("$.input.none", None),
        ("$.input.deep.a.0.b", 1),
        ("$.steps.plan.output", OUTPUTS[StepId("plan")]),
        ("$.steps.plan.output.tasks", [{"id": "x"}, {"id": "y"}]),
        ("$.steps.plan.output.tasks.1.id", "y"),
        ("$.steps.plan.output.0", "zero"),
        ("$.steps.plan.output.null", None),
        ("$.steps.plan.output.output.k", 2),
        ("$.steps.list.output.1", "q"),
        # an id with dots: the longest that is known
        ("$.steps.plan.v2.output.a", 1),
        ("$.steps.plan.output.x.output.a", 2),
        # a skipped step
        ("$.steps.skipped.output", None),
        ("$.steps.skipped.output.any.thing", None),
    ],
)
def test_a_reference_stands_for_its_value(reference: str, value: Json) -> None:
    assert resolve(reference, INPUTS, OUTPUTS) == Found(value)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("$5 fee", "a reference begins with $.input. or $.steps."),
        ("$", "a reference begins with $.input. or $.steps."),
        ("$.output.x", "a reference begins with $.input. or $.steps."),
        ("$.input.nmae", "the flow has no input nmae (it has: name, deep, none)"),
        ("$.input.", "the flow has no input  (it has: name, deep, none)"),
        ("$.input.deep.z", "there is no z in an object with a"),
        ("$.input.deep.a.2", "there is no 2 in a list of 2"),
        ("$.input.deep.a.-1", "there is no -1 in a list of 2"),
        ("$.input.deep.a.1.b", "there is no b in null"),
        ("$.input.name.x", "there is no x in a str"),
        ("$.input.deep.", "there is no name after the dot in an object with a"),
        (
            "$.steps.gone.output",
            "step gone has no output yet (there is: plan, plan.v2, plan.output.x, skipped, list)",
        ),
        ("$.steps.plan.output.zz", "there is no zz in an object with tasks, output, 0, null"),
        ("$.steps.plan", "write $.steps.ID.output"),
        ("$.steps.plan.outputs", "write $.steps.ID.output"),
        ("$.steps..output", "write $.steps.ID.output"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(reference: str, reason: str) -> None:
    assert resolve(reference, INPUTS, OUTPUTS) == Unresolved(f"{reference}: {reason}")


def test_an_index_of_thousands_of_digits_is_missing() -> None:
    assert isinstance(resolve("$.steps.list.output." + "9" * 9000, INPUTS, OUTPUTS), Unresolved)


@given(
    st.lists(st.sampled_from(["$", ".", "input", "steps", "plan", "output", "0", "x", "\u0663"])).map("".join)
)
def test_any_text_is_found_or_not(reference: str) -> None:
    assert isinstance(resolve(reference, INPUTS, OUTPUTS), Found | Unresolved)
    steps_named(reference)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("text", ()),
        ("$.input.a", ()),
        ("$.steps.plan.output", ("plan",)),
        ("$.steps.plan.output.tasks.0", ("plan",)),
        ("$.steps.plan.v2.output.a", ("plan.v2",)),
        ("$.steps.plan", ("plan",)),
        ("$.steps.a.output.x == null and $.steps.b-1.output or $.steps.a.output", ("a", "b-1")),
        ("len($.steps.a.output)>0", ("a",)),
    ],
)
def test_the_steps_that_a_text_names_are_known(text: str, steps: tuple[str, ...]) -> None:
    assert steps_named(text) == steps


def test_the_inputs_that_a_text_names_are_known() -> None:
    assert inputs_named("$.input.a == 1 and $.input.b.c or $.input.a") == ("a", "b")
