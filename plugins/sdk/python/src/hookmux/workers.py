"""Threads for plain methods."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

# How long a thread that has nothing to do is kept.
_KEEP = 10.0


class Workers:
    """Runs functions beside each other, in at most so many threads; more wait their turn.

    The threads are daemons: a method that hangs must not keep the process from ending.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # threads that wait, less the tasks that wait for them

    def submit(self, task: Callable[[], None]) -> None:
        """Run task, which must not raise, soon."""
        with self._lock:
            start = self._free <= 0 and self._threads < self._most
            if start:
                self._threads += 1
            else:
                self._free -= 1
        self._tasks.put(task)
        if start:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_KEEP)
            except queue.Empty:
                with self._lock:
                    if self._tasks.empty() and self._free > 0:
                        self._threads -= 1
                        self._free -= 1
                        return
                continue
            task()
            del task  # its request may be large
            with self._lock:
                self._free += 1
