"""Values that must not be written down: found in what programs say, and replaced by their names.

Which values are secret is said in the agents' settings (``secrets:``), or by the name of a variable that they
give (``env:``). A value is known as it is, and as JSON, a URL, base64 or hex would have it. Whoever turns it
into something else is not caught: this keeps accidents out of logs and commits, not a thief.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from stratum_git.agents.base import AgentSpec
from stratum_git.model.ids import Json

SHORTEST = 6
"""Characters that a value needs: a shorter one would be found everywhere."""
LONG_LINE = 16
"""Characters from which on a line of a value of several lines, a key for example, counts by itself."""
WORDS = frozenset({"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "CREDENTIALS"})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secret values by their forms. ``forms`` maps bytes to the name that stands for them."""

    forms: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.forms)

    @property
    def longest(self) -> int:
        """Returns the length of the longest form."""
        return max(map(len, self.forms), default=0)

    def pattern(self) -> re.Pattern[bytes]:
        """Returns what finds any form; of several that begin at one place, the longest."""
        return re.compile(b"|".join(re.escape(form) for form in sorted(self.forms, key=len, reverse=True)))

    def are_in(self, data: bytes) -> bool:
        """Returns whether there is one in *data*."""
        return any(form in data for form in self.forms)

    def hidden(self, data: bytes) -> bytes:
        """Returns *data* with names in place of values."""
        if not self.are_in(data):
            return data
        return self.pattern().sub(lambda found: b"[%s]" % self.forms[found[0]].encode(), data)

    def hidden_text(self, text: str) -> str:
        """Returns *text* with names in place of values."""
        if not self.forms:
            return text
        return self.hidden(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def hidden_json(self, value: Json) -> Json:
        """Returns *value* with names in place of values, at any depth. A number that is one becomes text."""
        match value:
            case _ if not self.forms:
                return value
            case str():
                return self.hidden_text(value)
            case list():
                return [self.hidden_json(item) for item in value]
            case dict():
                return {self.hidden_text(name): self.hidden_json(item) for name, item in value.items()}
            case int() | float() if not isinstance(value, bool) and self.are_in(repr(value).encode()):
                return self.hidden_text(repr(value))
        return value

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets({**self.forms, **other.forms})


NONE = Secrets()


class Redactor:
    """Replaces values in a stream that comes in pieces. Holds back what may be the beginning of one."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._pattern = secrets.pattern()
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Takes in more, and returns what is sure by now."""
        text = self._held + data
        return self._cleared(text, self._sure(text))

    def close(self) -> bytes:
        """Returns the rest."""
        return self._cleared(self._held, len(self._held))

    def _sure(self, text: bytes) -> int:
        """Returns up to where no value can begin that is not whole yet."""
        sure = len(text)
        for form in self._secrets.forms:
            at = text.find(form[:1], max(0, len(text) - len(form) + 1))
            while 0 <= at < sure:
                if form.startswith(text[at:]):
                    sure = at
                at = text.find(form[:1], at + 1)
        return sure

    def _cleared(self, text: bytes, sure: int) -> bytes:
        out, at = [], 0
        for found in self._pattern.finditer(text):
            if found.start() >= sure:
                break
            out += [text[at : found.start()], b"[%s]" % self._secrets.forms[found[0]].encode()]
            at = found.end()
        # A whole value may reach into what looked like the beginning of another one.
        sure = max(at, sure)
        self._held = text[sure:]
        return b"".join((*out, text[at:sure]))


def secrets_of(specs: Iterable[AgentSpec], environment: Mapping[str, str]) -> Secrets:
    """Returns the secrets of all these agents: what one may say another one must not write down."""
    forms: dict[bytes, str] = {}
    for spec in specs:
        for name, value in _values(spec, environment):
            if len(value) >= SHORTEST:
                forms |= dict.fromkeys(_forms(value), name)
    return Secrets(forms)


def too_short(spec: AgentSpec, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the names of secrets that are set and too short to be hidden."""
    return tuple(
        name
        for name, value in _values(spec, environment)
        if name in spec.secrets and 0 < len(value) < SHORTEST
    )


def sounds_secret(name: str) -> bool:
    """Returns whether a variable's name says that its value is secret."""
    return not WORDS.isdisjoint(re.split(r"[^A-Z0-9]+", name.upper()))


def _values(spec: AgentSpec, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in spec.secrets:
        # The agent's own setting wins over the caller's, and both are somebody's secret.
        for source in (spec.env, environment):
            if name in source:
                yield name, source[name].strip()
    for name, value in spec.env.items():
        if sounds_secret(name) and name not in spec.secrets:
            yield name, value.strip()


def _forms(value: str) -> set[bytes]:
    raw = value.encode("utf-8", "surrogateescape")
    lines = {line.strip() for line in raw.splitlines() if len(line.strip()) >= LONG_LINE}
    written = {json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(json.dumps(value)[1:-1])}
    quoted = {text[1:-1].encode("utf-8", "surrogateescape") for text in written}
    urls = {quote(raw, safe="").encode(), quote(raw).encode(), quote_plus(raw).encode()}
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), *lines, *quoted, *urls, *_base64(raw)}
    return {form for form in found if len(form) >= SHORTEST}


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yields what of the value is the same in any base64 of a text with it, wherever it begins."""
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw)
        # The characters that also hold bits of what comes before or after.
        first = -(-shift * 8 // 6)
        last = (shift + len(raw)) * 8 // 6
        form = whole[first:last]
        if len(form) >= SHORTEST + 2:
            yield form
            yield form.translate(bytes.maketrans(b"+/", b"-_"))
