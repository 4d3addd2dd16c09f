"""A part of a text file between two markers: ours, in a file of somebody else's.

The first marker carries a digest of the part: so it is noticed, by anybody and anywhere, when somebody has
written in it.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass

from stratum_git.install.refusing import Unusable


@dataclass(frozen=True, slots=True)
class Markers:
    """How a part is marked; *begin* has ``{}`` where the digest goes."""

    begin: str
    end: str

    def pattern(self) -> re.Pattern[str]:
        """Returns what finds the part, with its digest and its body."""
        begin, end = re.escape(self.opening), re.escape(self.end)
        lines = rf"^{begin} ([0-9a-f]{{12}})\b[^\n]*\n(.*?)^{end}[^\S\n]*(?:\n|\Z)"
        return re.compile(lines, re.MULTILINE | re.DOTALL)

    @property
    def opening(self) -> str:
        """Returns how the first marker begins, whatever is behind it."""
        return self.begin.partition(" {}")[0]

    def is_in(self, data: bytes) -> bool:
        """Returns whether a file may have the part."""
        return self.opening.encode() in data


PROSE = Markers(
    "<!-- stratum-git:begin {} (of `stratum-git install`; `uninstall` takes it out) -->",
    "<!-- stratum-git:end -->",
)
PATTERNS = Markers(
    "# stratum-git:begin {} (of `stratum-git install`; `uninstall` takes it out)", "# stratum-git:end"
)


@dataclass(frozen=True, slots=True)
class Section:
    """Our part of a file: from *start* to *end* of its text; *changed* when somebody has written in it."""

    start: int
    end: int
    changed: bool


def with_section(data: bytes | None, markers: Markers, body: str, *, force: bool = False) -> bytes:
    """Returns a file with our part at its end, or in the place of the former one; raises Unusable.

    A part that somebody has changed is left as it is, but for *force*.
    """
    mark, text = _read(data)
    newline = "\r\n" if "\r\n" in text else "\n"
    part = newline.join([markers.begin.format(_digest(body)), *body.splitlines(), markers.end, ""])
    found = find(text, markers)
    if found is None:
        gap = "" if not text else newline if text.endswith("\n") else newline * 2
        return mark + (text + gap + part).encode()
    if found.changed and not force:
        return data or b""
    return mark + (text[: found.start] + part + text[found.end :]).encode()


def without_section(data: bytes, markers: Markers, *, force: bool = False) -> bytes:
    """Returns a file without our part and the empty line before it; one that was changed only by *force*."""
    mark, text = _read(data)
    found = find(text, markers)
    if found is None or (found.changed and not force):
        return data
    before, after = text[: found.start], text[found.end :]
    return mark + (re.sub(r"(\r?\n)\r?\n\Z", r"\1", before) + after).encode()


def is_changed(data: bytes | None, markers: Markers) -> bool:
    """Returns whether somebody has written in our part of a file."""
    found = find(_read(data)[1], markers)
    return found is not None and found.changed


def find(text: str, markers: Markers) -> Section | None:
    """Returns where our part is; raises Unusable when its markers do not belong together."""
    first, last = markers.opening, markers.end
    counts = (
        len(re.findall(rf"^{re.escape(first)}\b", text, re.MULTILINE)),
        len(re.findall(rf"^{re.escape(last)}", text, re.MULTILINE)),
    )
    if counts == (0, 0):
        return None
    found = markers.pattern().search(text)
    if counts != (1, 1) or found is None:
        why = f"the markers {first!r} and {last!r} do not come once and in this order"
        raise Unusable(why, "delete what is between them, and the markers, by hand")
    body = found[2].replace("\r\n", "\n")
    return Section(found.start(), found.end(), _digest(body) != found[1])


def _digest(body: str) -> str:
    return hashlib.sha256("\n".join(body.splitlines()).encode()).hexdigest()[:12]


def _read(data: bytes | None) -> tuple[bytes, str]:
    data = data or b""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, data.removeprefix(mark).decode()
    except UnicodeDecodeError as error:
        raise Unusable(f"byte {error.start + len(mark)} is not UTF-8", "save it as UTF-8") from error
