"""`hutong backup` and `hutong restore` as people meet them: beside a gateway, and when killed."""

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from backup_stage import PASSWORD, contents, copy, in_child, in_memory, make, opened, settings_for
from databases import PostgresServer
from sqlalchemy import select, text
from test_cli import PATIENCE_S, Command, in_process, running, sentence

from gateway import backup_commands, bootstrap
from gateway.access.secrets import Sealer, read_key
from gateway.app import run
from gateway.backup_commands import restore_backup, save_backup
from gateway.settings import Settings
from gateway.startup import CannotStart, prepare_data_dir
from registry.backup import archive, restoring
from registry.backup.refused import BackupRefused
from registry.models import DEVICES

__all__ = ["in_process"]
pytest_plugins = ["databases"]

USER_PASSWORD = "long-enough-password-1"


@pytest.fixture
def machine() -> Iterator[Path]:
    """A folder in which `hutong` runs, with `data` as data directory."""
    with in_memory() as it:
        yield it


@pytest.fixture(scope="module")
def backup() -> Iterator[Path]:
    """One of a gateway with rows in every table."""
    with in_memory() as folder:
        settings = settings_for(folder / "data")
        make(settings.database, settings.data_dir)
        file = folder / "a.backup"
        save(settings, file)
        yield file


def sign_in(url: str, name: str) -> str:
    """The name that a gateway gives back of whoever signs in with `USER_PASSWORD`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:  # it says where it is going to be before it listens
        try:
            token = asked(url, "/auth/login", {"name": name, "password": USER_PASSWORD})
            break
        except urllib.error.URLError as error:
            assert isinstance(error.reason, ConnectionError)
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return str(asked(url, "/me", token=token["access_token"])["name"])


def asked(url: str, path: str, body: object = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/api/v1{path}", data, headers if token else {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


async def test_a_gateway_is_put_up_again_on_another_machine(
    machine: Path, in_process: Command
) -> None:
    first, second = machine / "first", machine / "second"
    for each in (first, second):
        each.mkdir()
    settings = settings_for(first / "data")
    make(settings.database, settings.data_dir)
    with opened(settings.database) as database:
        how = {"role": "admin", "organization": "shenhe", "district": ""}
        await bootstrap.add_user(database, name="boss", password=USER_PASSWORD, **how)

    with running(first, "serve") as gateway:
        url = gateway.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        words = {"HUTONG_DATA_DIR": str(first / "data"), "LC_ALL": "zh_CN.UTF-8"}
        done = in_process("backup", str(machine / "a.backup"), **words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "持有此文件即可获得所有设备密码" in done.stdout
        with pytest.raises(BackupRefused, match="in use"):
            restore(settings, machine / "a.backup", force=True)
        assert sign_in(url, "boss") == "boss"

    assert restore(settings_for(second / "data"), machine / "a.backup") == 0
    with running(second, "serve") as gateway:
        url = gateway.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        assert sign_in(url, "boss") == "boss"
        key = (second / "data" / "secret.key").read_text()
        with opened(f"sqlite:///{second}/data/hutong.db") as database:
            sealed = database.read_now(lambda c: c.scalar(select(DEVICES.c.secret)))
        assert Sealer(read_key(key)).open(sealed) == PASSWORD


def test_what_people_type_wrong(in_process: Command) -> None:
    assert in_process("backup").returncode == 2
    assert in_process("backup", "no/such/folder/a.backup").returncode == 2
    assert in_process("restore", "none.backup").returncode == 2
    said = sentence(in_process("backup", "a.backup"), 1)
    assert "nothing to back up" in said
    done = in_process("restore", "--help")
    assert done.returncode == 0
    assert "Exit code 3" in done.stdout


# --- killed ---------------------------------------------------------------------------------------


def killed(settings: Settings, backup: Path, module: ModuleType, name: str) -> None:
    """Restore by force, and die by SIGKILL when that function is called for the second time."""
    called: list[int] = []
    real = getattr(module, name)

    def die(*arguments: Any, **named: Any) -> Any:
        called.append(1)
        if len(called) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    def act() -> None:
        setattr(module, name, die)
        restore(settings, backup, force=True)

    assert in_child(act) == "killed"


def restore(settings: Settings, backup: Path, *, force: bool = False) -> int:
    return restore_backup(settings, backup, force=force, language="en")


def restored_well(settings: Settings, backup: Path) -> None:
    source = backup.with_name("data")
    mine, its = contents(settings.database), contents(f"sqlite:///{source}/hutong.db")
    for table in ("points", "changes", "journal_events", "point_counts"):
        assert mine[table] == its[table]
    key = (settings.data_dir / "secret.key").read_text()
    assert key == (source / "secret.key").read_text()
    prepare_data_dir(settings)
    left = {path.name for path in settings.data_dir.iterdir()}
    assert not left & {"restore.part", "restore.unfinished", ".secret.key.restored"}


def test_killed_while_it_makes_new_files(machine: Path, backup: Path) -> None:
    settings = settings_for(machine / "data")
    copy(backup.with_name("data"), settings.data_dir)
    before, key = contents(settings.database), (machine / "data" / "secret.key").read_text()

    killed(settings, backup, restoring, "write_rows")

    prepare_data_dir(settings)
    assert contents(settings.database) == before
    assert (machine / "data" / "secret.key").read_text() == key
    with pytest.raises(BackupRefused, match="--force"):
        restore(settings, backup)
    assert restore(settings, backup, force=True) == 0
    restored_well(settings, backup)


@pytest.mark.parametrize(
    ("module", "name"), [(restoring, "replace"), (backup_commands, "flush_folder")]
)
async def test_killed_while_new_files_take_their_places(
    machine: Path, backup: Path, module: ModuleType, name: str
) -> None:
    settings = settings_for(machine / "data")
    copy(backup.with_name("data"), settings.data_dir)

    killed(settings, backup, module, name)

    with pytest.raises(CannotStart, match="run hutong restore FILE again"):
        await run(settings)
    with pytest.raises(CannotStart, match="run hutong restore FILE again"):
        save(settings, machine / "b.backup")
    assert restore(settings, backup) == 0, "it is not asked for force again"
    restored_well(settings, backup)


@pytest.mark.parametrize(
    ("module", "name", "old_state"),
    [(restoring, "write_rows", True), (backup_commands, "flush_folder", False)],
)
def test_killed_with_postgresql(
    machine: Path,
    backup: Path,
    module: ModuleType,
    name: str,
    old_state: bool,
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.create()
    settings = settings_for(machine / "data", url)
    make(url, settings.data_dir)
    before = contents(url)

    killed(settings, backup, module, name)

    assert (contents(url) == before) is old_state
    if old_state:
        prepare_data_dir(settings)
    else:
        with pytest.raises(CannotStart, match="run hutong restore FILE again"):
            prepare_data_dir(settings)
    assert until_let_go(settings, backup, force=old_state) == 0
    restored_well(settings, backup)
    postgres_server.drop(url)


def until_let_go(settings: Settings, backup: Path, *, force: bool) -> int:
    """Restore; the server takes a moment to see that a client was killed."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return restore(settings, backup, force=force)
        except BackupRefused as refused:
            assert refused.reason == "in_use"
            assert time.monotonic() < deadline


def test_a_gateway_with_the_same_postgresql_keeps_a_restore_away(
    machine: Path, backup: Path, postgres_server: PostgresServer
) -> None:
    """On another machine too, with a data directory of its own."""
    url = postgres_server.create()
    with opened(url) as database:
        database.upgrade_now()
        with pytest.raises(BackupRefused, match="in use"):
            restore(settings_for(machine / "data", url), backup)
        assert database.read_now(lambda c: c.scalar(text("SELECT count(*) FROM points"))) == 0
        database.write_now(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num='9999'"))
        )
    with pytest.raises(BackupRefused, match="made by a newer version"):
        restore(settings_for(machine / "data", url), backup, force=True)
    postgres_server.drop(url)


def test_a_backup_that_is_killed_leaves_no_file(machine: Path, backup: Path) -> None:
    settings = settings_for(machine / "data")
    shutil.copytree(backup.with_name("data"), settings.data_dir)

    def act() -> None:
        archive.Writer.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
        save(settings, machine / "a.backup")

    assert in_child(act) == "killed"
    assert not (machine / "a.backup").exists()
    assert save(settings, machine / "a.backup") == 0
    assert sorted(each.name for each in machine.iterdir()) == ["a.backup", "data"]


def save(settings: Settings, file: Path) -> int:
    return save_backup(settings, file, force=False, without_key=False, language="en")
