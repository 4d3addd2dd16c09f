"""Holds one command and everything it starts; a program of its own, or a fork of ``server.py``.

``python -I -S tether.py CONTROL STATUS GRACE LC_CTYPE COMMAND...``

It makes itself the reaper of all descendants of the command: a process that forks twice, calls ``setsid``
or ignores SIGTERM still becomes its child when its parent is gone. When the command ends, or the control
pipe is closed (which the death of the dispatcher does too), all of them get SIGTERM, and SIGKILL after
GRACE seconds, until none is left. Lines of JSON on the STATUS descriptor say which process the command is
and how it ended. Outside of Linux there is no such reaper: there it ends the command's process group only.

It starts once per attempt, so it imports nothing that it can do without: ``signal`` alone, with the enums
that it makes, would cost a third of the start.
"""

import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK = 20
"""Milliseconds between two looks for processes that were forked while others were being killed."""
AIMED_ASIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Meant for the dispatcher's group or for the command; whoever holds others must not die of them."""
# The interpreter ignores these two; what it starts would inherit that.
OF_THE_INTERPRETER = (signal.SIGPIPE, signal.SIGXFSZ)


def main(argv: "list[str]") -> int:
    """Holds the command of the arguments."""
    restore_locale(argv[3])
    words = [os.fsencode(word) for word in argv[4:]]
    return hold(int(argv[0]), int(argv[1]), float(argv[2]), words, dict(os.environb))


def hold(
    control: int, status: int, grace: float, command: "list[bytes]", environment: "dict[bytes, bytes]"
) -> int:
    """Runs the command and returns its exit code, 128 + N for a signal, 127 when it could not start."""
    for number in AIMED_ASIDE:
        signal.signal(number, signal.SIG_IGN)
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child, errno = start(command, environment, (control, status))
    if errno:
        say(status, b'{"errno": %d}\n' % errno)
        return 127
    say(status, b'{"pid": %d}\n' % child)
    ended: dict[int, int] = {}
    wait(child, control, wake, ended)
    leftovers = end_all(child, grace, wake, ended)
    say(status, b'{"status": %d, "leftovers": %d}\n' % (ended[child], leftovers))
    code = os.waitstatus_to_exitcode(ended[child])
    return code if code >= 0 else 128 - code


def restore_locale(value: str) -> None:
    """Takes back what the interpreter did to LC_CTYPE when it found itself in the C locale (PEP 538)."""
    if value:
        os.environ["LC_CTYPE"] = value
    else:
        os.environ.pop("LC_CTYPE", None)


def say(status: int, line: bytes) -> None:
    """Tells the dispatcher, if it is still there."""
    try:
        os.write(status, line)
    except OSError:
        pass


def start(
    command: "list[bytes]", environment: "dict[bytes, bytes]", private: "tuple[int, ...]"
) -> "tuple[int, int]":
    """Starts the command in a session of its own; returns its pid, and an errno when that failed."""
    prctl = system_prctl()
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become(command, environment, private, writer, prctl)
    os.close(writer)
    said = os.read(reader, 16)
    os.close(reader)
    if said:
        os.waitpid(child, 0)
    return child, int(said or b"0")


def system_prctl() -> "Callable[..., object] | None":
    """Returns the system's ``prctl``, where there is one."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl: Callable[..., object] = ctypes.CDLL(None).prctl
    return prctl


def become(
    command: "list[bytes]",
    environment: "dict[bytes, bytes]",
    private: "tuple[int, ...]",
    writer: int,
    prctl: "Callable[..., object] | None",
) -> None:
    """Becomes the command, or writes the errno that hindered it; never returns."""
    try:
        os.setsid()
        if prctl is not None:
            # Should this process and the dispatcher be killed in one blow, the command at least goes too.
            # Safe here, where the parent has one thread: the signal follows the death of a *thread*.
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in AIMED_ASIDE + OF_THE_INTERPRETER:
            signal.signal(number, signal.SIG_DFL)
        for descriptor in private:
            os.close(descriptor)
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(writer, str(error.errno or 1).encode())
    finally:
        os._exit(127)


def wait(child: int, control: int, wake: int, ended: "dict[int, int]") -> None:
    """Waits until the command has ended, or is to be ended."""
    poll = poller(control, wake)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        drain(wake)
        reap(ended)
        if child in ended or (control in ready and not os.read(control, 1)):
            return


def poller(*descriptors: int) -> "select.poll":
    """Returns what waits for any of them. Unlike ``select`` it takes numbers of 1024 and more."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return poll


def drain(wake: int) -> None:
    """Empties the pipe that signals ring at."""
    try:
        os.read(wake, 4096)
    except BlockingIOError:
        pass


def reap(ended: "dict[int, int]") -> bool:
    """Takes leave of every child that has ended; returns whether any is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended[pid] = status


def end_all(child: int, grace: float, wake: int, ended: "dict[int, int]") -> int:
    """Ends every descendant: asks first, then kills; returns how many there were."""
    if not reap(ended):
        return 0
    leftovers = tell_all(child, signal.SIGTERM)
    deadline = time.monotonic() + grace
    poll = poller(wake)
    while (left := deadline - time.monotonic()) > 0:
        poll.poll(left * 1000)
        drain(wake)
        if not reap(ended):
            return leftovers
    while reap(ended):
        tell_all(child, signal.SIGKILL)
        poll.poll(LOOK)
        drain(wake)
    return leftovers


def tell_all(child: int, number: int) -> int:
    """Sends a signal to every descendant, and returns how many are alive."""
    if not os.path.exists("/proc/self/stat"):
        tell(os.killpg, child, number)
        return 1
    living, zombies = descendants()
    # A zombie may have threads that are at work: only its first one has ended.
    for pid in living + zombies:
        tell(os.kill, pid, number)
    return len(living)


def tell(send: "Callable[[int, int], None]", target: int, number: int) -> None:
    """Sends a signal; that nobody is there any more is as good."""
    try:
        send(target, number)
    except OSError:
        pass


def descendants() -> "tuple[list[int], list[int]]":
    """Returns every process below this one: those alive, and those that nobody has taken leave of."""
    below: dict[int, list[int]] = {}
    zombies: set[int] = set()
    for name in os.listdir("/proc"):
        facts = facts_of(name) if name.isdigit() else None
        if facts is not None:
            state, parent = facts
            below.setdefault(parent, []).append(int(name))
            if state == b"Z":
                zombies.add(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return [pid for pid in found if pid not in zombies], [pid for pid in found if pid in zombies]


def facts_of(pid: str) -> "tuple[bytes, int] | None":
    """Returns the state and the parent of a process; ``None`` when it is gone."""
    try:
        with open("/proc/" + pid + "/stat", "rb") as file:
            # The name in parentheses may hold spaces and parentheses itself.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (fields[0], int(fields[1])) if fields else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
