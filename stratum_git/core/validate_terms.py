"""The questions that validation asks of many places: is this a name, is it known, can it be evaluated."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence

from stratum_git.core.expr import refusal
from stratum_git.core.shape_notes import Notes, Place
from stratum_git.model.values import dataclass, field

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
LONGEST_PATTERN = 4000
SECTIONS: Mapping[str, Place] = {
    "contract": ("contracts",),
    "function": ("functions",),
    "flow": ("flows",),
}
"""Where the things of a kind are declared. Of a section that cannot be read, nothing can be missing."""


@dataclass(slots=True)
class Terms:
    """Asks, and notes the answers. What is used in many places is looked at once."""

    notes: Notes
    _refusals: dict[str, str | None] = field(default_factory=dict)
    _patterns: dict[str, str | None] = field(default_factory=dict)

    def known(
        self, place: Place, kind: str, name: str, names: Collection[str], *, mildly: bool = False
    ) -> bool:
        """Returns whether *name* is one of *names*, and notes it if not; *mildly*, as a warning."""
        if name in names:
            return True
        if name and not self.notes.is_broken(SECTIONS.get(kind, ())):
            message = f"there is no {kind} called {shortened(name)}"
            say = self.notes.warning if mildly else self.notes.semantic
            say(place, message, self.notes.suggest(name, names))
        return False

    def name(self, place: Place, kind: str, name: str) -> None:
        """Notes a name that cannot be a part of a ref."""
        if name and not is_name(name):
            message = f"the {kind} {shortened(name)!r} cannot be a part of a ref's name"
            hint = "use letters A-Z, digits, dots, dashes and underscores: for example"
            self.notes.semantic(place, message, f"{hint} {spelling(name)}")

    def expressions(self, place: Place, sources: Sequence[str]) -> None:
        """Notes the expressions of a list that are refused."""
        for index, source in enumerate(sources):
            self.expression((*place, index), source)

    def expression(self, place: Place, source: str) -> None:
        """Notes an expression that is refused."""
        if source not in self._refusals:
            self._refusals[source] = refusal(source)
        reason = self._refusals[source]
        if reason is not None:
            message = f"the expression {shortened(source)!r} is refused: {reason}"
            self.notes.semantic(place, message, "write an expression such as result.count > 3")

    def patterns(self, place: Place, patterns: Sequence[str]) -> None:
        """Notes the regular expressions of a list that do not compile."""
        for index, pattern in enumerate(patterns):
            if pattern not in self._patterns:
                self._patterns[pattern] = _unusable(pattern)
            reason = self._patterns[pattern]
            if reason is not None:
                message = f"{shortened(pattern)!r} is not a regular expression: {reason}"
                self.notes.semantic((*place, index), message, "write one that Python's re takes")


def is_name(text: str) -> bool:
    """Returns whether *text* can be the id of a step or the name of a flow.

    These become parts of ref names, hence git's rules; and ``.output`` ends the id in a reference to a step.
    """
    return (
        NAME.fullmatch(text) is not None
        and ".." not in text
        and not text.endswith((".lock", "."))
        and ".output" not in text
    )


def spelling(text: str) -> str:
    """Returns a name that can be used and looks like *text*."""
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).replace(".output", "-output")
    slug = re.sub(r"\.{2,}", ".", slug).strip(".-")[:90].strip(".-").removesuffix(".lock")
    return slug if is_name(slug) else "step-1"


def shortened(text: str) -> str:
    """Returns at most 80 characters of *text*."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unusable(pattern: str) -> str | None:
    if len(pattern) > LONGEST_PATTERN:
        return f"it is longer than {LONGEST_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        return str(error)
    return None
