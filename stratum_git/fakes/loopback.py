"""The server below the fakes: 127.0.0.1 only, all is written down, nothing let through, an end of its own.

It ends at its deadline, when nobody has asked for ``idle`` seconds, when the process ``watch`` is gone, or
when it is closed. A request for any other host, as a client makes that takes it for its proxy, is refused and
kept in ``refused``.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Protocol, cast

from stratum_git.errors import UserError
from stratum_git.fakes.conversation import Conversation
from stratum_git.fakes.scripting import Reply, Script

POLL = 0.02
"""Seconds between two looks for a file that a turn waits for."""


class Dialect(Protocol):
    """How one API is spoken."""

    path: str

    def reads(self, body: Mapping[str, Any]) -> Conversation:
        """Returns what the model is told by a request."""

    def message(self, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """Returns the plain answer."""

    def events(self, message: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Returns the same answer as a stream has it: names and data."""

    def fault(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the body of an error, of *error*'s ``type`` and ``message``."""

    def other(self, method: str, path: str, size: int) -> dict[str, Any] | None:
        """Returns the answer to a request that is not to the model; ``None`` when there is nothing there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When it ends by itself: seconds in all, seconds without a request, a process; and how many requests."""

    deadline: float = 300.0
    idle: float | None = None
    watch: int | None = None
    requests: int = 2000


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and what it got. ``lane`` is empty for those that are not to the model."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: Any = None
    lane: str = ""
    turn: int = -1
    reply: Any = None
    at: float = field(default_factory=time.time)


class Loopback(ThreadingMixIn, HTTPServer):
    """A fake that listens: ``url``, what it was ``asked``, and which hosts it ``refused``."""

    daemon_threads = True

    def __init__(
        self,
        dialect: Dialect,
        script: Script,
        limits: Limits,
        log: Path | None,
        listener: socket.socket | None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.dialect, self.script, self.limits = dialect, script, limits
        self.asked: list[Asked] = []
        self.refused: list[str] = []
        self.ended = threading.Event()
        self._log = log
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._listen(listener)

    def _listen(self, listener: socket.socket | None) -> None:
        if listener is None:
            self.server_bind()
            self.server_activate()
        else:
            self.socket.close()
            self.socket = listener
            self.server_address = listener.getsockname()

    @property
    def port(self) -> int:
        """Returns the port it listens at."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Returns its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def to(self, lane: str) -> list[Asked]:
        """Returns what *lane* was asked."""
        return [one for one in self.asked if one.lane == lane]

    def record(self, asked: Asked) -> None:
        """Writes a request down."""
        with self._lock:
            self._last = time.monotonic()
            self.asked.append(asked)
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(asked)) + "\n")

    def full(self) -> bool:
        """Returns whether it has answered as often as it may."""
        return len(self.asked) >= self.limits.requests

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that leaves in the middle is what is tested."""

    def watch(self) -> None:
        """Waits until it is to end, and ends it."""
        started = time.monotonic()
        while not self.ended.wait(0.2):
            now = time.monotonic()
            idle, pid = self.limits.idle, self.limits.watch
            if now - started > self.limits.deadline or (idle is not None and now - self._last > idle):
                break
            if pid is not None and not _alive(pid):
                break
        self.ended.set()
        self.shutdown()


@contextlib.contextmanager
def listening(
    dialect: Dialect,
    script: Any,
    *,
    log: Path | None = None,
    listener: socket.socket | None = None,
    limits: Limits | None = None,
) -> Iterator[Loopback]:
    """Serves *script* in threads for as long as the block lasts, or until its limits end it."""
    server = Loopback(dialect, Script.of(script), limits or Limits(), log, listener)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    watching = threading.Thread(target=server.watch, daemon=True)
    serving.start()
    watching.start()
    try:
        yield server
    finally:
        server.ended.set()
        watching.join()
        serving.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> Loopback:
        """Returns the server, as what it is."""
        return cast(Loopback, self.server)

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_CONNECT(self) -> None:
        """Refuses to be a proxy."""
        self._refuse()
        self.close_connection = True

    def do_HEAD(self) -> None:
        """Answers as to a GET."""
        self._aside()

    def do_GET(self) -> None:
        """Answers what is not to the model."""
        self._aside()

    def do_POST(self) -> None:
        """Answers a request to the model."""
        raw = self._body()
        if self.path.startswith("http") or not self.path.split("?")[0].endswith(self.fake.dialect.path):
            self._aside(raw)
            return
        body = json.loads(raw)
        if self.fake.full():
            self._fault({"status": 400, "message": "more requests than the fake may answer"}, body, "", -1)
            return
        try:
            reply = self.fake.script.reply(self.fake.dialect.reads(body))
        except UserError as error:
            self._fault({"status": 400, "message": f"the script: {error}"}, body, "", -1)
            return
        self._say(body, reply)

    def _say(self, body: Mapping[str, Any], reply: Reply) -> None:
        if reply.error is not None:
            self._wait(reply)
            self._fault(reply.error, body, reply.lane, reply.turn)
            return
        message = self.fake.dialect.message(body, reply)
        self._record(200, body, reply.lane, reply.turn, message)
        self._wait(reply)
        if reply.said.get("hang"):
            self.fake.ended.wait()
        elif body.get("stream"):
            self._stream(message, reply)
        else:
            self._plain(200, message)

    def _wait(self, reply: Reply) -> None:
        ended = self.fake.ended
        if touch := reply.said.get("touch"):
            Path(touch).touch()
        ended.wait(reply.said.get("delay", 0.0))
        if until := reply.said.get("until"):
            while not Path(until).exists() and not ended.wait(POLL):
                pass

    def _stream(self, message: Mapping[str, Any], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for number, (name, data) in enumerate(self.fake.dialect.events(message)):
            if number == reply.said.get("cut_after"):
                return
            if number and "pause" in reply.said:
                self.fake.ended.wait(reply.said["pause"])
            self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()

    def _aside(self, raw: bytes = b"") -> None:
        if self.path.startswith("http"):
            self._refuse()
            return
        answer = self.fake.dialect.other(self.command, self.path.split("?")[0], len(raw))
        status = 404 if answer is None else 200
        self._record(status, raw.decode("utf-8", "replace"), "", -1, answer)
        self._plain(status, self.fake.dialect.fault({"message": self.path}) if answer is None else answer)

    def _refuse(self) -> None:
        self.fake.refused.append(self.path)
        self._record(403, None, "", -1, None)
        self._plain(403, {"error": "nothing is let through here"})

    def _fault(self, error: Mapping[str, Any], body: Any, lane: str, turn: int) -> None:
        self._record(error["status"], body, lane, turn, dict(error))
        self._plain(error["status"], self.fake.dialect.fault(error), error.get("headers", {}))

    def _plain(
        self, status: int, answer: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, str(value))
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _record(self, status: int, body: Any, lane: str, turn: int, reply: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.record(Asked(self.command, self.path, status, headers, body, lane, turn, reply))

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            raw = b"".join(self._chunks())
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
