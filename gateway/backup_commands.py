"""What `hutong backup` and `hutong restore` do."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from gateway.access.errors import Unsealable
from gateway.access.secrets import Sealer, read_key
from gateway.progress import progress_bar
from gateway.settings import Settings, SettingsError
from gateway.startup import (
    UNFINISHED,
    CannotStart,
    open_database,
    prepare_data_dir,
    refuse_unfinished,
)
from registry.backup import manifest, restoring
from registry.backup.archive import Archive, flush_folder, new_file
from registry.backup.refused import BackupRefused
from registry.backup.saving import save
from registry.backup.tables import sealed_in
from registry.holding import hold

DONE, IN_PART = 0, 3
KEY_FILE = "secret.key"
OF_ANOTHER_TIME = ("definitions.json", "broker")
"""In the data directory: the copy of the patches by which a bridge begins without the database, and
what the embedded broker keeps. Both tell of what is replaced, and are made anew."""

TEXTS = {
    "saved": (
        "{rows} rows backed up to {file} ({size} MiB)",
        "已将 {rows} 行数据备份到 {file}（{size} MiB）",
    ),
    "with_key": (
        "it holds the secret key: whoever has this file has every device password",
        "其中包含密钥：持有此文件即可获得所有设备密码",
    ),
    "without_key": (
        "it does not hold the secret key: keep a copy of that elsewhere, or all device passwords "
        "must be typed again after a restore",
        "其中不含密钥：请另行保存密钥，否则恢复后必须重新输入所有设备密码",
    ),
    "readable": (
        "others on this machine can read {file}: its file system knows no modes",
        "本机其他用户可以读取 {file}：该文件系统不支持权限",
    ),
    "unopened": (
        "{bad} of {count} device and system passwords do not open with the key of this gateway",
        "{count} 个设备和系统密码中有 {bad} 个无法用本网关的密钥打开",
    ),
    "restored": (
        "{rows} rows restored to {place}, as they were at {at} (Hutong {version})",
        "已将 {rows} 行数据恢复到 {place}，为 {at} 的状态（胡同 {version}）",
    ),
    "look_through": (
        "everybody signs in again; users, rights, tokens and patches are as they were then, also "
        "those that were taken away since: look through them",
        "所有人需要重新登录；用户、权限、令牌和互联组均为当时的状态，包括之后已撤销的：请逐一检查",
    ),
    "key_kept": (
        "the secret key that was there is kept as {file}",
        "原有密钥已保存为 {file}",
    ),
    "give_key": (
        "put the key that they were sealed with into {key}, or type them again",
        "请将封存时使用的密钥写入 {key}，或重新输入密码",
    ),
}


# --- backup ---------------------------------------------------------------------------------------


def save_backup(
    settings: Settings, file: Path, *, force: bool, without_key: bool, language: str
) -> int:
    """Write a backup; gives the exit code.

    Raises: BackupRefused, SettingsError, CannotStart, RegistryError.
    """
    refuse_unfinished(settings.data_dir)
    if file.exists() and not force:
        raise BackupRefused("exists", file=file)
    sealed = _sealed(settings)
    key = _key_text(settings)
    bad = 0 if without_key else _check_opens(settings, key, sealed)
    with progress_bar() as bar, new_file(file, replace=force) as opened:
        task = bar.add_task("write", total=None)
        said = save(
            settings.database,
            opened,
            version=version("hutong"),
            key=None if without_key else key,
            key_check=_check_of(key) if key else "",
            told=lambda rows: bar.advance(task, rows),
        )
    size = f"{file.stat().st_size / (1 << 20):.1f}"
    _say("saved", language, rows=said.rows, file=file, size=size)
    if bad:
        _say("unopened", language, bad=bad, count=len(sealed))
    if said.key is not None:
        _say("with_key" if said.key.stored else "without_key", language)
    if file.stat().st_mode & 0o077:
        _say("readable", language, file=file)
    return DONE


def _sealed(settings: Settings) -> list[bytes]:
    """All sealed passwords. Raises: BackupRefused where there is no database; nothing is made."""
    database = open_database(settings)
    try:
        if restoring.is_sqlite(settings.database):
            (place, *_) = restoring.places(settings.database)
            if not place.exists():
                raise BackupRefused("nothing_there", database=place)
        return database.read_now(sealed_in)
    finally:
        database.close_now()


def _check_opens(settings: Settings, key: str | None, sealed: list[bytes]) -> int:
    """How many passwords do not open. A command that runs with other settings than the gateway,
    from cron for instance, must not keep a key that is of no use. Raises: BackupRefused."""
    if not sealed:
        return 0
    if key is None:
        place = settings.data_dir.absolute() / KEY_FILE
        raise BackupRefused("no_key", key=place, count=len(sealed))
    bad = _unopened(key, sealed)
    if bad == len(sealed):
        raise BackupRefused("wrong_key", count=len(sealed))
    return bad


def _unopened(key: str | None, sealed: list[bytes]) -> int:
    if key is None:
        return len(sealed)
    sealer, bad = Sealer(read_key(key)), 0
    for each in sealed:
        try:
            sealer.open(each)
        except Unsealable:
            bad += 1
    return bad


def _key_text(settings: Settings) -> str | None:
    """The secret key in force, None where there is none yet: none is made.

    Raises: SettingsError, CannotStart for one that is none.
    """
    if settings.secret_key is not None:
        text = settings.secret_key.get_secret_value().strip()
        try:
            read_key(text)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return text
    file = settings.data_dir / KEY_FILE
    try:
        text = file.read_text().strip()
        read_key(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CannotStart(f"the secret key {file} cannot be read: {error}") from None
    return text


def _check_of(key: str) -> str:
    return Sealer(read_key(key)).derive("name of the key")[:8].hex()


# --- restore --------------------------------------------------------------------------------------


def restore_backup(settings: Settings, file: Path, *, force: bool, language: str) -> int:
    """Put back what a backup holds; gives the exit code.

    Raises: BackupRefused, SettingsError, CannotStart, RegistryError.
    """
    database = open_database(settings)
    database.close_now()
    ours = version("hutong")
    with Archive(file, version=ours) as archive, progress_bar() as bar:
        said = archive.manifest
        restoring.check(archive, version=ours)
        stored = sum(each.bytes for each in said.members().values())
        task = bar.add_task("verify", total=stored)
        archive.verify(lambda length: bar.advance(task, length))
        key = _key_to_write(settings, archive)
        task = bar.add_task("restore", total=said.rows)
        with _alone(settings) as folder:
            kept = _restore(
                settings,
                archive,
                _Place(folder, key),
                force=force or (folder / UNFINISHED).exists(),
                told=lambda rows: bar.advance(task, rows),
            )
    place = database.shown_url
    _say("restored", language, rows=said.rows, place=place, at=said.made_at, version=said.version)
    if kept is not None:
        _say("key_kept", language, file=kept)
    _say("look_through", language)
    sealed = _sealed(settings)
    if bad := _unopened(_key_text(settings), sealed):
        _say("unopened", language, bad=bad, count=len(sealed))
        _say("give_key", language, key=settings.data_dir.absolute() / KEY_FILE)
        return IN_PART
    return DONE


def _key_to_write(settings: Settings, archive: Archive) -> str | None:
    """The key that belongs into the data directory, None where it stays as it is.

    Raises: BackupRefused.
    """
    said = archive.manifest.key
    if said is None or said.stored is None:
        return None
    key = archive.key()
    try:
        read_key(key)
    except ValueError:
        raise BackupRefused("member_damaged", file=archive.path, member=manifest.KEY) from None
    if settings.secret_key is None:
        return key
    in_force = _key_text(settings)
    if in_force is None or read_key(in_force) != read_key(key):
        raise BackupRefused("other_key", file=archive.path)
    return None


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[Path]:
    """The data directory, while nobody else uses it, nor the database's files.

    Raises: CannotStart, BackupRefused.
    """
    folder = prepare_data_dir(settings, even_unfinished=True)
    folders = {folder.resolve()}
    if restoring.is_sqlite(settings.database):
        (place, *_) = restoring.places(settings.database)
        place.parent.mkdir(parents=True, exist_ok=True)
        folders.add(place.parent.resolve())
    with contextlib.ExitStack() as stack:
        for each in sorted(folders):
            try:
                held = hold(each, alone=True)
            except BlockingIOError:
                raise BackupRefused("in_use", place=each) from None
            if held is not None:
                stack.callback(os.close, held)
        yield folder


def _restore(
    settings: Settings,
    archive: Archive,
    place: "_Place",
    *,
    force: bool,
    told: restoring.Told,
) -> Path | None:
    """Gives where the key is kept that was there before, None where it stayed."""
    url = settings.database
    try:
        if not restoring.is_sqlite(url):
            restoring.into_postgresql(
                url, archive, force=force, before_commit=place.begin, told=told
            )
            return place.take()
        restoring.check_free(url, force=force)
        with restoring.into_sqlite(url, archive, told) as fresh:
            place.begin()
            for made, there in zip(fresh, restoring.places(url), strict=True):
                restoring.replace(made, there)
            flush_folder(restoring.places(url)[0].parent)
            return place.take()
    finally:
        place.leave()


class _Place:
    """What of a restore goes into the data directory. key: to write, None to leave it as it is.

    From `begin` to the end of `take` databases and directory may not belong together; the mark
    says so to whoever starts meanwhile, and after a crash.
    """

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder
        self._key = folder / KEY_FILE
        self._fresh = folder / f".{KEY_FILE}.restored"
        self._mark = folder / UNFINISHED
        there = self._key.read_text().strip() if self._key.exists() else None
        self._text = None if key == there else key
        self._replaces = there is not None

    def begin(self) -> None:
        """Raises: OSError."""
        if self._text is not None:
            _write(self._fresh, f"{self._text}\n")
        _write(self._mark, "")
        flush_folder(self._folder)

    def take(self) -> Path | None:
        """Gives where the key is that was there before. Raises: OSError."""
        kept = None
        if self._text is not None:
            if self._replaces:
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
                kept = self._key.with_name(f"{KEY_FILE}.before-{stamp}")
                self._key.replace(kept)
            self._fresh.replace(self._key)
        for name in OF_ANOTHER_TIME:
            path = self._folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        flush_folder(self._folder)
        self._mark.unlink()
        flush_folder(self._folder)
        return kept

    def leave(self) -> None:
        """No second copy of a key stays."""
        self._fresh.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """A file of our own, on the disk."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _say(what: str, language: str, **values: object) -> None:
    sys.stdout.write(TEXTS[what][language == "zh"].format(**values) + "\n")
