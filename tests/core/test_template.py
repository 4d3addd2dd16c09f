import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.template import MissingField, Rendered, fields_used, render
from stratum_git.model.ids import Json

TASK: dict[str, Json] = {
    "id": "api",
    "n": 3,
    "ok": True,
    "none": None,
    "files": ["a.py", "b.py"],
    "meta": {"k": {"v": "deep"}, "dash-ed": 1},
    "evil": "{task.id} {input.lang} {{task.id}}",
    "größe": "groß",
}
INPUTS: dict[str, Json] = {"lang": "de", "opts": {"x": [1, {"y": "é"}]}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("no holes", "no holes"),
        ("Do {task.id} now", "Do api now"),
        ("{task.id}{task.id}", "apiapi"),
        ("{task.n} {task.ok} {task.none}", "3 true null"),
        ("{task.files}", '["a.py","b.py"]'),
        ("{task.files.1}", "b.py"),
        ("{task.meta.k.v} {task.meta.dash-ed}", "deep 1"),
        ("{task.meta}", '{"k":{"v":"deep"},"dash-ed":1}'),
        ("{task.größe}", "groß"),
        ("{input.lang} {input.opts.x.1}", 'de {"y":"é"}'),
        # braces that are only braces
        ("{", "{"),
        ("{}", "{}"),
        ("{task}", "{task}"),
        ("{task.}", "{task.}"),
        ("{ task.id }", "{ task.id }"),
        ("{id}", "{id}"),
        ("{other.id}", "{other.id}"),
        ("{task.id!r}", "{task.id!r}"),
        ("{task.id:>9}", "{task.id:>9}"),
        ("{task[id]}", "{task[id]}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        # a hole that is meant literally
        ("{{task.x}}", "{task.x}"),
        ("{{{task.id}}}", "{{task.id}}"),
        ("{{ {task.id} }}", "{{ api }}"),
        # what is filled in is not a template
        ("{task.evil}", "{task.id} {input.lang} {{task.id}}"),
    ],
)
def test_a_template_is_filled(template: str, text: str) -> None:
    assert render(template, TASK, INPUTS) == Rendered(text)


@pytest.mark.parametrize(
    ("template", "field", "available"),
    [
        ("{task.nope} {task.id}", "task.nope", tuple(f"task.{name}" for name in TASK)),
        ("{task.id} {input.nope}", "input.nope", ("input.lang", "input.opts")),
        ("{task.meta.k.z}", "task.meta.k.z", ("task.meta.k.v",)),
        ("{task.files.2}", "task.files.2", ("task.files.0", "task.files.1")),
        ("{task.id.x}", "task.id.x", ()),
        ("{task.none.x}", "task.none.x", ()),
        ("{task.__class__}", "task.__class__", tuple(f"task.{name}" for name in TASK)),
    ],
)
def test_a_missing_field_is_named_with_what_stands_beside_it(
    template: str, field: str, available: tuple[str, ...]
) -> None:
    assert render(template, TASK, INPUTS) == MissingField(field, available)


@given(st.text())
def test_a_text_without_holes_stays_as_it_is(text: str) -> None:
    if not fields_used(text) and "{{" not in text:
        assert render(text, {}, {}) == Rendered(text)


@given(st.text(), st.text(), st.text())
def test_a_value_is_filled_in_as_it_is(before: str, value: str, after: str) -> None:
    found = render("a{task.x}b", {"x": value}, {})
    assert found == Rendered(f"a{value}b")


def test_the_holes_of_a_template_are_known() -> None:
    template = "{task.a} {{task.b}} {input.c.d} {task.a} {e} {task.f.0}"
    assert fields_used(template) == ("task.a", "input.c.d", "task.f.0")
