from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stratum_git.model.chunks import SIZE, Chunks


@given(st.lists(st.integers(), min_size=1, max_size=SIZE * 4), st.data())
def test_it_is_the_sequence_it_was_made_of(items: list[int], data: st.DataObject) -> None:
    chunks = Chunks.of(items)
    assert list(chunks) == items
    assert len(chunks) == len(items)
    at = data.draw(st.integers(0, len(items) - 1))
    assert chunks[at] == items[at]
    changed = chunks.replace(at, 7)
    assert list(changed) == [*items[:at], 7, *items[at + 1 :]]
    assert list(chunks) == items
    shared = [a is b for a, b in zip(chunks.parts, changed.parts, strict=True)]
    assert shared.count(False) == 1
    assert shared.index(False) == at // SIZE


def test_nothing_is_a_sequence_too() -> None:
    nothing: Chunks[int] = Chunks()
    assert list(nothing) == []
    assert len(nothing) == 0
    assert Chunks.of(range(SIZE)).parts == (tuple(range(SIZE)),)
