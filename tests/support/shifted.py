"""Users whose clock somebody sets: the wall clock of their processes is off by what stands in a file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.shell import Shell

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    char *name = getenv("SHIFTED_CLOCK");
    long seconds = 0;
    FILE *file = name ? fopen(name, "re") : NULL;
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, at);
    if (!done && clock == CLOCK_REALTIME) at->tv_sec += shift();
    return done;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@dataclass
class ShiftedShell(Shell):
    """A user in a scratch repository with a clock that can be set."""

    name: str = "clock"

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "LD_PRELOAD": str(_shim(self.home)), "SHIFTED_CLOCK": str(self.clock)}

    @property
    def clock(self) -> Path:
        return self.home / self.name

    def set(self, seconds: int) -> None:
        """Sets the clock of this user, that of processes under way too."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self.clock)


def _shim(folder: Path) -> Path:
    """Returns the library that shifts clocks, made if it is not there yet."""
    made = folder / "shift.so"
    if not made.exists():
        source = folder / "shift.c"
        source.write_text(SHIM)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"],
            check=True,
        )
    return made
