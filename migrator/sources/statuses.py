"""The status of each file of a folder: one after the other, or many at once where each has to be waited for."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter

AT_ONCE = 32
"""Files that are waited for at once: a share of the network takes as long for all of them as for one."""
SLOW = 0.0002
"""Seconds beyond which a status was not in memory: that takes a hundredth of it."""
_PIECE = 256

Status = os.stat_result | OSError | None
"""None: not asked for."""


def statuses(folder: str, names: Iterable[str], wanted: Callable[[str], bool] | None) -> Iterator[tuple[str, Status]]:
    """Each name with the status of that file, in the order of `names`; `folder` ends with a slash.

    The first of a few hundred is timed: where it is slow, the others of them are asked for together.
    """
    rest = iter(names)
    while piece := list(islice(rest, _PIECE)):
        asked = piece if wanted is None else [name for name in piece if wanted(name)]
        found = dict(zip(asked, _each([folder + name for name in asked]), strict=True))
        for name in piece:
            yield name, found.get(name)


def _each(paths: Sequence[str]) -> list[Status]:
    began = perf_counter()
    first: list[Status] = [_status(path) for path in paths[:1]]
    slow = perf_counter() - began > SLOW
    return first + (_together(paths[1:]) if slow else [_status(path) for path in paths[1:]])


def _status(path: str) -> os.stat_result | OSError:
    try:
        return os.lstat(path)
    except OSError as error:
        return error


def _together(paths: Sequence[str]) -> list[Status]:
    found: list[Status] = [None] * len(paths)

    def look(first: int) -> None:
        for place in range(first, len(paths), AT_ONCE):
            found[place] = _status(paths[place])

    # Not a pool: its threads would be waited for at the end, and a share that hangs must keep nobody from ending.
    lookers = [threading.Thread(target=look, args=(first,), daemon=True) for first in range(min(AT_ONCE, len(paths)))]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    return found
