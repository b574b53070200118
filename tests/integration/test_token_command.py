"""`hutong token create`: the token alone on standard output, one clear sentence for all else."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import cli
from gateway.access.sessions import hash_token
from registry import tokens
from registry.database import Database
from registry.partition import SYSTEM

Command = Callable[..., "subprocess.CompletedProcess[str]"]
CHIEF = ("user", "add", "chief", "--role", "dispatcher", "--organization", "shenhe")
CREATE = ("token", "create", "--user", "chief", "--name", "nightly export")


@pytest.fixture
def hutong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run in this process, on a data directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.logs, "configure", lambda *_: None)
    for name in [name for name in os.environ if name.startswith("HUTONG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HUTONG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HUTONG_USER_PASSWORD", "correct horse")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["hutong", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), *said)

    return run


def stored(tmp_path: Path) -> list[tokens.Token]:
    (path,) = (tmp_path / "data").glob("hutong.db")
    database = Database(f"sqlite:///{path}")
    try:
        return list(database.read_now(lambda c: tokens.page(c, SYSTEM).items))
    finally:
        database.close_now()


def test_a_token_is_made_and_said_alone(hutong: Command, tmp_path: Path) -> None:
    assert hutong(*CHIEF, "--district", "沈河区").returncode == 0
    done = hutong(*CREATE, "--days", "30", "--role", "viewer@shenhe")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"hutong_[A-Za-z0-9_-]{43}\n", done.stdout)
    secret = done.stdout.strip()
    (told,) = done.stderr.splitlines()
    (token,) = stored(tmp_path)
    assert told == (
        f"token {token.id} (nightly export) acts for chief until "
        f"{token.ends_at:%Y-%m-%d %H:%M} UTC, with viewer at shenhe; it is not shown again"
    )
    in_days = (token.ends_at - datetime.now(UTC)) / timedelta(days=1)
    assert 29.9 < in_days <= 30
    assert (token.created_by_name, token.user_name) == ("system", "chief")
    database = Database(f"sqlite:///{tmp_path / 'data' / 'hutong.db'}")
    try:
        acting = database.read_now(lambda c: tokens.find(c, hash_token(secret)))
    finally:
        database.close_now()
    assert acting is not None
    assert [(each.role, each.path) for each in acting.principal.grants] == [("viewer", "shenhe")]
    whole = hutong(*CREATE)
    assert "with all that they have" in whole.stderr
    assert [each.roles is None for each in stored(tmp_path)] == [False, True]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--user", "nobody"), 1, "there is no user 'nobody'"),
        (("--name", " "), 1, "must have 1 to 100 characters"),
        (("--role", "integrator@shenhe"), 1, "chief is no integrator at shenhe"),
        (("--role", "viewer@nowhere"), 1, "nowhere"),
        (("--role", "clear_view@shenhe"), 2, "--role must be ROLE@ORG with one of viewer"),
        (("--role", "viewer"), 2, "not 'viewer'"),
        (("--days", "367"), 2, "--days"),
        (("--days", "0"), 2, "--days"),
    ],
)
def test_what_cannot_be_is_told_and_prints_no_token(
    hutong: Command, tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    assert hutong(*CHIEF, "--district", "沈河区").returncode == 0
    done = hutong(*CREATE, *more)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert stored(tmp_path) == []


@pytest.mark.parametrize("arguments", [("token", "--help"), ("token", "create", "--help")])
def test_help_is_there(hutong: Command, arguments: tuple[str, ...]) -> None:
    done = hutong(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "token" in done.stdout
    missing = hutong("token", "create", "--user", "chief")
    assert missing.returncode == 2
    assert "--name" in missing.stderr
