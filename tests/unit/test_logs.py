"""Logging to a disk that is full, which only a process of its own can have for standard error."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.access.tokens import new_access_token

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
SPEAKING_OF_TOKENS = """
import logging
import sys
import structlog
from gateway import logs

logs.configure(sys.argv[1])
token = sys.argv[2]
structlog.get_logger("api").error("request failed", path=f"/points/{token}", name=token[:20])
logging.getLogger("library").warning("got header %r", b"Bearer " + token.encode())
try:
    raise ValueError(f"no such thing: {token}")
except ValueError:
    structlog.get_logger("api").exception("it failed")
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


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_an_access_token_is_cut_from_whatever_is_logged(log_format: str) -> None:
    token = new_access_token()
    done = subprocess.run(
        [sys.executable, "-c", SPEAKING_OF_TOKENS, log_format, token],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert token not in done.stderr
    assert token[7:] not in done.stderr
    assert done.stderr.count("hutong_(cut)") == 3
    assert "/points/hutong_(cut)" in done.stderr
