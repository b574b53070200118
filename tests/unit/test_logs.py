"""Logging to a disk that is full, which only a process of its own can have for standard error."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging
import sys
import structlog
from gateway import logs

logs.configure()
structlog.get_logger("bus").warning("broker is away", reason="it is")
logging.getLogger("library").warning("and so am I")
sys.stdout.write("went on")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_what_cannot_be_logged_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == "went on"


def test_what_can_be_logged_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "went on")
    assert "broker is away" in done.stderr
    assert "and so am I" in done.stderr
