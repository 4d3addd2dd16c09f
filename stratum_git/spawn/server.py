"""Starts tethers for another process; run as a program of its own, not imported.

``python -I -S server.py SOCKET``

A tether is a fork of this process: an interpreter that is there already, and small, takes no time to start.
It is told what to hold over a socket, with the descriptors that the tether gets; the last of these, a pipe,
is told when it was started and how it ended.

It ends when the socket is closed, which the death of the other process does too.
"""

import gc
import marshal
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tether  # type: ignore[import-not-found]

HEADER = 4
MOST = 8
"""Descriptors with an order: three streams, two ends of pipes, the status."""
HOLD, KILL = range(2)


def main(number: int) -> int:
    """Serves one socket until it is closed."""
    tether.system_prctl()  # loads what it takes, once for all forks
    gc.freeze()
    channel = socket.socket(fileno=number)
    wake, alarm = os.pipe()
    for descriptor in (wake, alarm):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for other in tether.AIMED_ASIDE:
        signal.signal(other, signal.SIG_IGN)
    waiting: dict[int, int] = {}
    poll = tether.poller(number, wake)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wake in ready:
            tether.drain(wake)
            reap(waiting)
        if number in ready and not serve(channel, waiting):
            return 0


def serve(channel: socket.socket, waiting: "dict[int, int]") -> bool:
    """Takes one order; returns whether there may be more."""
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, MOST, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    if not data:
        return False
    while len(data) < HEADER or len(data) < HEADER + int.from_bytes(data[:HEADER], "big"):
        more = channel.recv(1 << 20)
        if not more:
            return False
        data += more
    kind, target, words, environment = marshal.loads(data[HEADER:])
    if kind == KILL:
        if target in waiting:
            os.kill(target, signal.SIGKILL)
        return True
    status = descriptors.pop()
    try:
        pid = fork(target, words, environment, descriptors)
    except OSError as error:
        tether.say(status, b"E%d\n" % (error.errno or 1))
        os.close(status)
    else:
        tether.say(status, b"P%d\n" % pid)
        waiting[pid] = status
    for descriptor in descriptors:
        os.close(descriptor)
    return True


def reap(waiting: "dict[int, int]") -> None:
    """Tells how every process ended that has."""
    ended: dict[int, int] = {}
    tether.reap(ended)
    for pid, code in ended.items():
        status = waiting.pop(pid)
        tether.say(status, b"S%d\n" % code)
        os.close(status)


def fork(
    place: str, words: "list[bytes]", environment: "dict[bytes, bytes]", descriptors: "list[int]"
) -> int:
    """Starts a tether that holds a command: its three streams, its control pipe, its report."""
    pid = os.fork()
    if pid == 0:
        code = 127
        try:
            code = become(place, words, environment, descriptors)
        finally:
            os._exit(code)
    return pid


def become(
    place: str, words: "list[bytes]", environment: "dict[bytes, bytes]", descriptors: "list[int]"
) -> int:
    """Is a tether from here on; returns its exit code."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    kept = [os.dup2(descriptor, number) for number, descriptor in enumerate(move_up(descriptors))]
    os.closerange(len(kept), os.sysconf("SC_OPEN_MAX"))
    control, report = kept[3:]
    try:
        os.chdir(place)
    except OSError as error:
        tether.say(report, b'{"errno": %d}\n' % (error.errno or 1))
        return 127
    return int(tether.hold(control, report, float(words[0]), words[1:], environment))


def move_up(descriptors: "list[int]") -> "list[int]":
    """Returns copies with numbers above those that they are to get, so that none is overwritten."""
    copies = []
    low = []
    for descriptor in descriptors:
        while (copy := os.dup(descriptor)) < MOST:
            low.append(copy)
        copies.append(copy)
    return copies


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
