"""An immutable set of small numbers, in ascending order.

Which of ten thousand tasks may start changes with every event. A tuple of them would be copied each time,
80 KB of it; here each number is a bit, and all of them are one integer of a kilobyte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stratum_git.model.values import dataclass

HIGHEST = 1_000_000
"""Above all numbers that are stored: whoever wrote a flow's ref may have written anything into it."""


@dataclass(frozen=True, slots=True)
class Indices:
    """Numbers from 0, each once; equal when they are the same."""

    bits: int = 0

    @staticmethod
    def of(numbers: Iterable[int]) -> Indices:
        """Returns these *numbers*; raises ValueError where one cannot be."""
        flat = tuple(numbers)
        if any(not 0 <= number < HIGHEST for number in flat):
            raise ValueError(f"{min(flat)} to {max(flat)} are no indices of tasks")
        row = bytearray(max(flat, default=-1) // 8 + 1)
        for number in flat:
            row[number >> 3] |= 1 << (number & 7)
        return Indices(int.from_bytes(row, "little"))

    def first(self, count: int) -> tuple[int, ...]:
        """Returns the *count* lowest, or all where there are fewer."""
        found: list[int] = []
        left = self.bits
        while left and len(found) < count:
            lowest = left & -left
            found.append(lowest.bit_length() - 1)
            left ^= lowest
        return tuple(found)

    def including(self, number: int) -> Indices:
        """Returns them with *number*."""
        return Indices(self.bits | 1 << number)

    def without(self, *numbers: int) -> Indices:
        """Returns them without *numbers*."""
        bits = self.bits
        for number in numbers:
            bits &= ~(1 << number)
        return Indices(bits)

    def __contains__(self, number: int) -> bool:
        return bool(self.bits >> number & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __iter__(self) -> Iterator[int]:
        row = self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "little")
        return (at * 8 + bit for at, byte in enumerate(row) if byte for bit in range(8) if byte >> bit & 1)
