"""A task graph, checked: every need exists, nothing waits for itself, ids are safe in refs and paths."""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.model.ids import TaskId
from stratum_git.model.spec import Task
from stratum_git.model.values import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """The tasks in the order they were given; everything else speaks of them by their index in it.

    ``needs[i]`` and ``dependents[i]`` are the direct neighbours of task ``i``, ascending. ``order`` is a
    topological order of all indices: Kahn's algorithm with a FIFO queue, seeded in the order given.
    ``index`` finds a task by its id, ``contests`` the candidates of one that has such, ``size`` is how many
    tasks there are without candidates; these follow from ``tasks``.
    """

    tasks: tuple[Task, ...]
    needs: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    index: Mapping[TaskId, int] = field(init=False, repr=False, compare=False)
    contests: Mapping[int, tuple[int, ...]] = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fills in what follows from the tasks."""
        index = {task.id: i for i, task in enumerate(self.tasks)}
        contests: dict[int, tuple[int, ...]] = {}
        for i, task in enumerate(self.tasks):
            head = None if task.candidate_of is None else index.get(task.candidate_of)
            if head is not None:
                contests[head] = (*contests.get(head, ()), i)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "contests", contests)
        object.__setattr__(self, "size", sum(task.candidate_of is None for task in self.tasks))
