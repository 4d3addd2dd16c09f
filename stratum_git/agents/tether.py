"""Holds one command and everything it starts; run as a program of its own, not imported.

``python -I -S tether.py CONTROL STATUS GRACE COMMAND...``

It makes itself the reaper of all descendants of the command: a process that forks twice, calls ``setsid``
or ignores SIGTERM still becomes its child when its parent is gone. When the command ends, or the control
pipe is closed (which the death of the dispatcher does too), all of them get SIGTERM, and SIGKILL after
GRACE seconds, until none is left. Then one line of JSON on the STATUS descriptor says how the command
ended. Outside of Linux there is no such reaper: there it ends the command's process group only.

It starts once per attempt, so it imports nothing that it can do without.
"""

import os
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36
STEP = 0.02


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code, 128 + N for a signal, 127 when it could not start."""
    control, status, grace = int(argv[0]), int(argv[1]), float(argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    become_reaper()
    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child, errno = start(argv[3:], (control, status, wake, alarm))
    if errno:
        os.write(status, b'{"errno": %d}\n' % errno)
        return 127
    code = wait(child, control, wake)
    leftovers = end_all(child, grace)
    if code is None:
        code = END.get(child)
    ended = -1 if code is None else code
    os.write(status, b'{"status": %d, "leftovers": %d}\n' % (ended, leftovers))
    return os.waitstatus_to_exitcode(ended) % 256 if ended >= 0 else 1


END: dict[int, int] = {}


def become_reaper() -> None:
    """Makes orphans below this process its children, where the system can."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command: list[str], private: tuple[int, ...]) -> tuple[int, int]:
    """Starts the command in a session of its own; returns its pid, and an errno when that failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (*private, reader):
                os.close(descriptor)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(writer, str(error.errno or 1).encode())
        finally:
            os._exit(127)
    os.close(writer)
    said = os.read(reader, 16)
    os.close(reader)
    if said:
        os.waitpid(child, 0)
    return child, int(said or b"0")


def wait(child: int, control: int, wake: int) -> "int | None":
    """Waits for the command or for the order to end it; returns its wait status, if it ended by itself."""
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            os.read(wake, 512)
        reap()
        if child in END:
            return END[child]
        if control in ready and not os.read(control, 1):
            return None


def reap() -> bool:
    """Takes leave of every child that has ended; returns whether any is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        END[pid] = status


def end_all(child: int, grace: float) -> int:
    """Ends every descendant: asks first, then kills; returns how many outlived the command."""
    if not reap():
        return 0
    leftovers = len(descendants())
    tell(child, signal.SIGTERM)
    waited = 0.0
    while waited < grace:
        if not reap():
            return leftovers
        select.select([], [], [], STEP)
        waited += STEP
    while reap():
        # Whoever is forked between two looks is found by the next one.
        tell(child, signal.SIGKILL)
        select.select([], [], [], STEP / 4)
    return leftovers


def tell(child: int, number: int) -> None:
    """Sends a signal to the command's group and to every descendant."""
    for send, target in ((os.killpg, child), *((os.kill, pid) for pid in descendants())):
        try:
            send(target, number)
        except OSError:
            pass


def descendants() -> "list[int]":
    """Returns every process below this one, by /proc."""
    parents: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open("/proc/" + name + "/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                parents.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
