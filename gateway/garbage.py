"""Python's search for garbage, kept short."""

import gc


def leave_alone_what_stays() -> None:
    """What is there once a process has started is mostly code, and stays. Looked through again and
    again it stops everything for a tenth of a second each time: no press and no picture goes on.
    What comes later is looked through as ever."""
    gc.collect()
    gc.freeze()
