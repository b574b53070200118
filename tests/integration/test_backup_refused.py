"""What is no whole backup is not restored, and what is there stays; a backup that cannot be made
leaves nothing."""

import hashlib
import json
import os
import re
import resource
import signal
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_stage import contents, in_child, in_memory, make, opened, settings_for
from sqlalchemy import update

from gateway import backup_commands
from gateway.access.secrets import new_key
from gateway.backup_commands import restore_backup, save_backup
from gateway.settings import Settings
from gateway.startup import CannotStart, holding
from registry.backup import archive
from registry.backup.archive import new_file
from registry.backup.refused import TEXTS, BackupRefused
from registry.errors import DatabaseAway
from registry.holding import hold
from registry.models import DEVICES, POINTS

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with in_memory() as it:
        yield it


@pytest.fixture(scope="module")
def source(folder: Path) -> Settings:
    settings = settings_for(folder / "source")
    make(settings.database, settings.data_dir)
    return settings


@pytest.fixture(scope="module")
def backup(source: Settings, folder: Path) -> Path:
    save(source, folder / "good.backup")
    return folder / "good.backup"


@pytest.fixture
def target() -> Iterator[Settings]:
    with in_memory() as empty:
        yield settings_for(empty / "new")


def save(settings: Settings, file: Path, **how: Any) -> int:
    return save_backup(
        settings, file, **{"force": False, "without_key": False, "language": "en", **how}
    )


def restore(settings: Settings, file: Path, *, force: bool = False) -> int:
    return restore_backup(settings, file, force=force, language="en")


def members_of(file: Path) -> Members:
    with zipfile.ZipFile(file) as opened_:
        return {name: opened_.read(name) for name in opened_.namelist()}


def write(file: Path, members: Members) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened_:
        for name, content in members.items():
            opened_.writestr(name, content)
    return file


def refused(settings: Settings, file: Path) -> str:
    """Why; nothing is there afterwards that was not before."""
    with pytest.raises(BackupRefused) as raised:
        restore(settings, file)
    assert not list(settings.data_dir.parent.rglob("*.db"))
    assert not list(settings.data_dir.parent.rglob("*.key*"))
    message = raised.value.message
    assert str(file) in message
    assert "\n" not in message
    return message


# --- the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.2, 0.6, 0.99])
def test_a_file_that_was_cut_short(
    target: Settings, backup: Path, tmp_path: Path, part: float
) -> None:
    whole = backup.read_bytes()
    cut = tmp_path / "cut.backup"
    cut.write_bytes(whole[: int(len(whole) * part)])
    assert "cut short" in refused(target, cut)


def test_files_of_others(target: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("name,code\n" * 100)
    assert "no backup" in refused(target, other)
    write(other, {"a.txt": b"a"})
    assert "no backup" in refused(target, other)
    write(other, {"manifest.json": b'{"product": "else", "format": 1, "version": "1"}'})
    assert "no backup" in refused(target, other)
    write(other, {"manifest.json": b"{" * 100_000})
    assert "no backup" in refused(target, other)
    other.unlink()
    os.mkfifo(other)
    assert "no backup" in refused(target, other)


def damage(name: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    return lambda members: {**members, name: change(members[name])}


def added(name: str) -> Callable[[Members], Members]:
    return lambda members: {name: b"x", **members}


def said(**changes: Any) -> Callable[[Members], Members]:
    """changes: of the manifest."""
    return damage(
        "manifest.json", lambda text: json.dumps({**json.loads(text), **changes}).encode()
    )


def in_manifest(change: Callable[[Any], object]) -> Callable[[Members], Members]:
    def changed(text: bytes) -> bytes:
        shape = json.loads(text)
        change(shape)
        return json.dumps(shape).encode()

    return damage("manifest.json", changed)


def tables(shape: Any, part: str = "registry") -> Any:
    return shape["parts"][part]["tables"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (damage("registry/points.jsonl", lambda b: b.replace(b"7", b"8")), "registry/points.jsonl"),
        (damage("audit/audit.jsonl", lambda b: b + b"\n"), "audit/audit.jsonl"),
        (damage("journal/journal_calls.jsonl", lambda b: b[:-3]), "journal/journal_calls.jsonl"),
        (damage("secret.key", lambda _: new_key().encode() + b"\n"), "secret.key"),
        (lambda m: {n: b for n, b in m.items() if n != "registry/users.jsonl"}, "users.jsonl is m"),
        (lambda m: {n: b for n, b in m.items() if n != "secret.key"}, "secret.key is missing"),
        (in_manifest(lambda m: tables(m).pop("changes")), "registry/changes.jsonl"),
        (in_manifest(lambda m: m["parts"].pop("audit")), "audit"),
        (in_manifest(lambda m: tables(m)["users"].update(rows=1)), "registry/users.jsonl"),
        (in_manifest(lambda m: tables(m)["users"]["columns"].reverse()), "registry/users.jsonl"),
        (in_manifest(lambda m: tables(m)["users"]["columns"].append("x")), "registry/users.jsonl"),
        (added("../../etc/cron.d/x"), "../../etc/cron.d/x"),
        (added("/etc/passwd"), "/etc/passwd"),
        (added("registry/points.jsonl/../x"), "which no backup has"),
        (said(format=2, version="9.1.0"), "Hutong 9.1.0"),
        (in_manifest(lambda m: m["parts"]["journal"].update(revision="0099")), "0099"),
        (in_manifest(lambda m: m["parts"]["audit"].update(revision="../x")), "../x"),
    ],
)
def test_what_was_changed(
    target: Settings, backup: Path, tmp_path: Path, change: Callable[[Members], Members], why: str
) -> None:
    changed = write(tmp_path / "changed.backup", change(members_of(backup)))
    assert why in refused(target, changed)


def test_a_member_that_is_there_twice(target: Settings, backup: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.backup"
    twice.write_bytes(backup.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(twice, "a") as opened_:
        opened_.writestr("registry/users.jsonl", b"[]\n")
    assert "registry/users.jsonl" in refused(target, twice)


def test_what_unpacks_to_far_more_than_it_is(
    target: Settings, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so itself, truly: nothing of it is unpacked."""
    monkeypatch.setattr(archive, "ALLOWED_ANYWAY", 1 << 20)
    nothing = b" " * (600 * backup.stat().st_size)
    bomb = in_manifest(lambda m: tables(m)["users"]["stored"].update(bytes=len(nothing)))
    members = {**bomb(members_of(backup)), "registry/users.jsonl": nothing}
    assert "unpacks to" in refused(target, write(tmp_path / "bomb.backup", members))


def test_what_unpacks_to_more_than_it_says(target: Settings, backup: Path, tmp_path: Path) -> None:
    """Its directory says what the manifest says, its content is another."""
    members = members_of(backup)
    users = members["registry/users.jsonl"]
    longer = tmp_path / "longer.backup"
    write(longer, {**members, "registry/users.jsonl": users + b" " * 70_000})
    content = longer.read_bytes().replace(
        (len(users) + 70_000).to_bytes(4, "little"), len(users).to_bytes(4, "little")
    )
    longer.write_bytes(content)
    assert "registry/users.jsonl" in refused(target, longer)


@pytest.mark.parametrize(
    "row",
    [
        b'["only one"]',
        b"{}",
        b"[[1]]",
        b"\xff\xfe",
        b"[" * 5000,
        b"not json",
    ],
)
def test_rows_that_are_none(target: Settings, backup: Path, tmp_path: Path, row: bytes) -> None:
    assert "registry/users.jsonl" in refused(target, with_users(backup, tmp_path, [row]))


def test_rows_that_break_a_rule(target: Settings, backup: Path, tmp_path: Path) -> None:
    """The sums are right, so that the database is the one who finds it, at the end or before."""
    rows = members_of(backup)["registry/users.jsonl"].splitlines()
    for wrong in ([rows[0], rows[0]], [rows[0]], [rows[0].replace(b"[", b"[1e999,")]):
        file = with_users(backup, tmp_path, wrong)
        assert re.search("registry/", refused(target, file))


def with_users(backup: Path, folder: Path, rows: list[bytes]) -> Path:
    """A backup whose sums are right, with other rows."""
    users = b"".join(row + b"\n" for row in rows)
    sum_ = {"bytes": len(users), "sha256": hashlib.sha256(users).hexdigest()}
    change = in_manifest(lambda m: tables(m)["users"].update(stored=sum_, rows=len(rows)))
    return write(
        folder / "rows.backup", {**change(members_of(backup)), "registry/users.jsonl": users}
    )


def test_every_refusal_has_both_languages() -> None:
    for english, chinese in (*TEXTS.values(), *backup_commands.TEXTS.values()):
        assert re.search("[\u4e00-\u9fff]", chinese)
        fields = re.compile(r"{\w+}")
        assert sorted(set(fields.findall(english))) == sorted(set(fields.findall(chinese)))


# --- the database and the key -----------------------------------------------------------------


def test_a_database_that_is_in_use_or_broken(target: Settings, backup: Path) -> None:
    target.data_dir.mkdir()
    with opened(target.database) as database:
        database.upgrade_now()
        with pytest.raises(BackupRefused, match="in use"):
            restore(target, backup, force=True)
    assert restore(target, backup) == 0, "its tables were empty"
    for place in (target.data_dir / "hutong.db", target.data_dir / "journal.db"):
        place.write_bytes(b"this is no database" * 100)
    with pytest.raises(BackupRefused, match=r"hutong\.db is there and cannot be read"):
        restore(target, backup)
    assert restore(target, backup, force=True) == 0
    assert contents(target.database)["journal_events"]


def test_a_program_that_knows_nothing_of_our_locks(target: Settings, backup: Path) -> None:
    restore(target, backup)
    before = contents(target.database)
    other = sqlite3.connect(target.data_dir / "journal.db")
    try:
        other.execute("PRAGMA journal_mode = WAL").fetchall()
        other.execute("SELECT count(*) FROM journal_events").fetchall()
        with pytest.raises(BackupRefused, match=r"journal\.db is in use"):
            restore(target, backup, force=True)
    finally:
        other.close()
    assert contents(target.database) == before
    assert restore(target, backup, force=True) == 0


def test_a_key_of_the_environment_that_is_another(target: Settings, backup: Path) -> None:
    other = Settings(data_dir=target.data_dir, secret_key=new_key())  # type: ignore[arg-type]
    assert "HUTONG_SECRET_KEY" in refused(other, backup)


def test_the_key_of_the_environment_is_kept_and_not_written(
    target: Settings, source: Settings, tmp_path: Path
) -> None:
    key = (source.data_dir / "secret.key").read_text().strip()
    from_environment = settings_for(target.data_dir.with_name("old"), secret_key=key)
    make(from_environment.database, from_environment.data_dir)
    with opened(source.database) as database:
        sealed = database.read_now(
            lambda c: c.scalar(DEVICES.select().with_only_columns(DEVICES.c.secret))
        )
    with opened(from_environment.database) as database:
        database.write_now(lambda c: c.execute(update(DEVICES).values(secret=sealed)))
    (from_environment.data_dir / "secret.key").unlink()

    save(from_environment, tmp_path / "a.backup")
    again = settings_for(target.data_dir, secret_key=key)
    assert restore(again, tmp_path / "a.backup") == 3, "the system's was sealed with another"
    assert not (target.data_dir / "secret.key").exists()


def test_a_backup_without_the_right_key_is_not_made(source: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    wrong = settings_for(source.data_dir, secret_key=new_key())
    with pytest.raises(BackupRefused, match="opens none of the 2"):
        save(wrong, file)
    elsewhere = settings_for(tmp_path / "elsewhere", source.database)
    with pytest.raises(BackupRefused, match="no secret key"):
        save(elsewhere, file)
    assert not (tmp_path / "elsewhere").exists()
    assert not file.exists()


def test_a_key_that_was_left_out(
    source: Settings, target: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.backup"
    assert save(source, file, without_key=True) == 0
    assert "must be typed again" in capsys.readouterr().out
    key = (source.data_dir / "secret.key").read_bytes().strip()
    assert all(key not in content for content in members_of(file).values())
    assert restore(target, file) == 3
    assert "2 of 2" in capsys.readouterr().out
    (target.data_dir / "secret.key").write_bytes(key)
    assert restore(target, file, force=True) == 0


def test_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="nothing to back up"):
        save(settings_for(tmp_path / "none"), tmp_path / "a.backup")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "hutong.db").touch()
    with pytest.raises(BackupRefused, match="nothing to back up"):
        save(settings_for(tmp_path), tmp_path / "a.backup")


def test_a_database_of_a_newer_version(target: Settings, backup: Path, tmp_path: Path) -> None:
    restore(target, backup)
    with sqlite3.connect(target.data_dir / "journal.db") as journal:
        journal.execute("UPDATE journal_version SET version_num = '9999'")
    journal.close()
    with pytest.raises(BackupRefused, match="newer version: journal is at step 9999"):
        save(target, tmp_path / "a.backup")
    assert list(tmp_path.iterdir()) == []


# --- writing ------------------------------------------------------------------------------------


def test_a_backup_is_its_owners_and_replaced_by_force_alone(
    source: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "a.backup"
    before = os.umask(0)
    try:
        save(source, file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_bytes()
    with pytest.raises(BackupRefused, match="--force"):
        save(source, file)
    assert file.read_bytes() == first
    with opened(source.database) as database:
        database.write_now(lambda c: c.execute(update(POINTS).values(status_reason="again")))
    save(source, file, force=True)
    assert members_of(file) != {}
    assert file.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["a.backup"]


def limited(length: int, act: Callable[[], object]) -> Callable[[], object]:
    """It meets a disk that takes no longer files."""

    def run() -> object:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))
        return act()

    return run


def test_a_full_disk_leaves_nothing(source: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    said = in_child(limited(40_000, lambda: save(source, file)))
    assert said == f"{file} cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_restores_nothing(target: Settings, backup: Path) -> None:
    said = in_child(limited(150_000, lambda: restore(target, backup)))
    assert said.startswith("the database at ")
    assert "does not answer" in said
    assert [path.name for path in target.data_dir.iterdir()] == ["hutong.lock"]


def test_two_backups_into_one_file(source: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    with new_file(file, replace=False) as opened_:
        opened_.write(b"x")
        with pytest.raises(BackupRefused, match="another backup"):
            save(source, file)
    assert file.read_bytes() == b"x"
    left = tmp_path / ".b.backup.part"
    left.write_bytes(b"left by one that was killed" * 10_000)
    save(source, tmp_path / "b.backup")
    assert not left.exists()
    assert members_of(tmp_path / "b.backup")


def test_who_comes_during_a_restore_waits(target: Settings, backup: Path) -> None:
    restore(target, backup)
    held = hold(target.data_dir, alone=True)
    assert held is not None
    with pytest.raises(CannotStart, match="being restored"), holding(target.data_dir):
        pass
    with opened(target.database) as database:
        with pytest.raises(DatabaseAway, match="being restored"):
            database.read_now(lambda c: None)
        os.close(held)
        database.read_now(lambda c: None)
    with holding(target.data_dir), pytest.raises(BackupRefused, match="in use"):
        restore(target, backup, force=True)
