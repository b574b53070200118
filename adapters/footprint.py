"""What this process holds: tasks, descriptors, threads, children. Tells what was left behind."""

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_POOL_OF_THE_LOOP = "asyncio_"
"""Names of the threads of a loop's default executor: they stay, idle, until the loop ends, and
`asyncio.run` waits for them, so one that is stuck shows there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds: whatever is there afterwards and was not before, was left behind."""

    tasks: frozenset[str]
    descriptors: frozenset[str]
    threads: frozenset[str]
    children: frozenset[str]

    @classmethod
    def now(cls) -> "Footprint":
        return cls(
            tasks=frozenset(f"{id(task)} {task!r}"[:200] for task in asyncio.all_tasks()),
            descriptors=frozenset(_descriptors()),
            threads=frozenset(
                f"{thread.name} ({thread.ident})"
                for thread in threading.enumerate()
                if not thread.name.startswith(_POOL_OF_THE_LOOP)
            ),
            children=frozenset(_children()),
        )

    def beyond(self, before: "Footprint") -> list[str]:
        """What is here and was not before, for a person to read."""
        own_task = {name.split()[0] for name in before.tasks}
        tasks = [name for name in self.tasks if name.split()[0] not in own_task]
        return [
            *tasks,
            *sorted(self.descriptors - before.descriptors),
            *(f"thread {name}" for name in self.threads - before.threads),
            *(f"child process {pid}" for pid in self.children - before.children),
        ]


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            yield f"descriptor {entry}: {os.readlink(f'/proc/self/fd/{entry}')}"


def _children() -> Iterator[str]:
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from listing.read_text().split()
