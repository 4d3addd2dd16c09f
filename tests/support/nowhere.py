"""A place without a network: a namespace of its own that has the loopback and nothing else.

Where that is not allowed the programs stay where they are, and their proxies lead to a fake that lets nothing
through: then it is seen who wanted to go elsewhere, and nearly as well prevented.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

KEEP = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
with socket.socket(fileno=int(sys.argv[1])) as other:
    socket.send_fds(other, [b"x"], [listener.fileno()])
listener.close()
sys.stdin.read()
"""


@cache
def is_allowed() -> bool:
    """Returns whether this process may make such a place."""
    try:
        return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def nowhere() -> Iterator[tuple[socket.socket | None, tuple[str, ...]]]:
    """Gives a socket that listens in there, and the words to put before a program that is to be in there."""
    if not is_allowed():
        yield None, ()
        return
    here, there = socket.socketpair()
    with here:
        keeper = subprocess.Popen(
            ["unshare", "-n", sys.executable, "-I", "-S", "-c", KEEP, str(there.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[there.fileno()],
        )
        there.close()
        try:
            _, (descriptor,), _, _ = socket.recv_fds(here, 1, 1)
            yield socket.socket(fileno=descriptor), ("nsenter", f"--net=/proc/{keeper.pid}/ns/net", "--")
        finally:
            keeper.communicate(timeout=10)
