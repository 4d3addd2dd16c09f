"""An immutable sequence cut into chunks that versions share.

A flow of ten thousand tasks changes one of them per event. Copying all of them each time would make a run
quadratic; here a change copies one chunk and the short list of chunks. The store uses the same cut: it
writes only the chunks that are not the very objects it wrote before (``tests/core/test_chunks.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from stratum_git.model.values import dataclass

T = TypeVar("T")

SIZE = 32
"""Items in a chunk. 32 keeps both halves of a 10,000-item sequence to a few hundred entries."""


@dataclass(frozen=True, slots=True)
class Chunks(Generic[T]):
    """A sequence of ``T``; equal when its items are."""

    parts: tuple[tuple[T, ...], ...] = ()

    @staticmethod
    def of(items: Iterable[T]) -> Chunks[T]:
        """Returns the items, cut."""
        flat = tuple(items)
        return Chunks(tuple(flat[i : i + SIZE] for i in range(0, len(flat), SIZE)))

    def replace(self, index: int, item: T) -> Chunks[T]:
        """Returns a version with another item at *index*, sharing every other chunk."""
        row, column = divmod(index, SIZE)
        part = self.parts[row]
        part = (*part[:column], item, *part[column + 1 :])
        return Chunks((*self.parts[:row], part, *self.parts[row + 1 :]))

    def append(self, item: T) -> Chunks[T]:
        """Returns a version with one more *item*, sharing every full chunk."""
        if self.parts and len(self.parts[-1]) < SIZE:
            return Chunks((*self.parts[:-1], (*self.parts[-1], item)))
        return Chunks((*self.parts, (item,)))

    def __getitem__(self, index: int) -> T:
        row, column = divmod(index, SIZE)
        return self.parts[row][column]

    def __len__(self) -> int:
        return 0 if not self.parts else (len(self.parts) - 1) * SIZE + len(self.parts[-1])

    def __iter__(self) -> Iterator[T]:
        for part in self.parts:
            yield from part
