"""What must be there before a node can be built; each failure is one sentence, `CannotStart`."""

import contextlib
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gateway.access.secrets import Sealer, load_key, read_key
from gateway.bus.address import BrokerAddress, parse_broker_url
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.errors import BusError
from gateway.settings import Settings, SettingsError
from registry import audit, journal
from registry.database import Database
from registry.errors import DatabaseUnusable
from registry.holding import hold

SEND_BUFFER_BYTES = 256 * 1024
UNFINISHED = "restore.unfinished"
"""A file of this name is in the data directory while a restore takes its place."""


class CannotStart(Exception):
    """One sentence for whoever started us."""


def prepare_data_dir(settings: Settings, *, even_unfinished: bool = False) -> Path:
    """The data directory, made and writable. even_unfinished: although a restore into it was cut
    off, so that what belongs together may not be. Raises: CannotStart."""
    folder = settings.data_dir
    if not even_unfinished:
        refuse_unfinished(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / f".write-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise CannotStart(
            f"the data directory {folder.absolute()} cannot be written ({reason}): "
            "set HUTONG_DATA_DIR to one that can"
        ) from None
    return folder


def refuse_unfinished(folder: Path) -> None:
    """Raises: CannotStart where a restore was cut off in the moment when it took its place."""
    if (folder / UNFINISHED).exists():
        raise CannotStart(
            f"a restore into {folder.absolute()} was cut off, and what is there does not belong "
            "together: run hutong restore FILE again"
        )


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep `hutong restore` away from a data directory. Raises: CannotStart while it is at work."""
    try:
        held = hold(folder)
    except BlockingIOError:
        raise CannotStart(
            f"{folder.absolute()} is being restored from a backup: start again when that is done"
        ) from None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def sealer_of(settings: Settings) -> Sealer:
    """What seals device passwords. Raises: SettingsError, CannotStart for a key that is none."""
    if settings.secret_key is not None:
        try:
            return Sealer(read_key(settings.secret_key.get_secret_value()))
        except ValueError as error:
            raise SettingsError(str(error)) from None
    file = settings.data_dir / "secret.key"
    try:
        return Sealer(load_key(file))
    except OSError as error:
        raise CannotStart(f"the secret key {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CannotStart(str(error)) from None


def open_database(settings: Settings) -> Database:
    """Raises: SettingsError for a URL that can never work."""
    try:
        return Database(settings.database)
    except DatabaseUnusable as error:
        raise SettingsError(f"HUTONG_DATABASE_URL: {error.message}") from None


def open_audit(settings: Settings) -> Database:
    """The record of viewing: a file beside the registry's, or in the same PostgreSQL database.

    Raises: SettingsError for a URL that can never work.
    """
    try:
        return audit.open_store(settings.database)
    except DatabaseUnusable as error:
        raise SettingsError(f"HUTONG_DATABASE_URL: {error.message}") from None


def open_journal(settings: Settings) -> Database:
    """What happened: a file beside the registry's, or in the same PostgreSQL database.

    Raises: SettingsError for a URL that can never work.
    """
    try:
        return journal.open_store(settings.database)
    except DatabaseUnusable as error:
        raise SettingsError(f"HUTONG_DATABASE_URL: {error.message}") from None


def node_name(folder: Path) -> str:
    """This node's name on the bus: made once, kept in the data directory."""
    file = folder / "node"
    with contextlib.suppress(OSError):
        name = file.read_text().strip()
        if re.fullmatch(r"[a-z0-9-]{3,40}", name):
            return name
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:20] or "node"
    name = f"{host}-{secrets.token_hex(3)}"
    file.write_text(name + "\n")
    return name


def listening_socket(settings: Settings) -> socket.socket:
    """Raises: CannotStart when the port is in use or the address is not ours."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what is accepted: 40 ms an answer else.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted inherits it: a slow viewer must not hide megabytes of old video there.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        opened.bind((settings.http_host, settings.http_port))
    except OSError as error:
        opened.close()
        raise CannotStart(
            f"cannot listen on {settings.http_host}:{settings.http_port} "
            f"({error.strerror or error}): "
            "set HUTONG_HTTP_HOST to an address of this machine and HUTONG_HTTP_PORT to a free port"
        ) from None
    return opened


@contextlib.asynccontextmanager
async def broker(
    settings: Settings, folder: Path
) -> AsyncIterator[tuple[BrokerAddress, BrokerAddress | None]]:
    """How to connect to the broker by URL, or to the embedded one with its read-only credential.

    Raises: CannotStart when the embedded one does not start.
    """
    if settings.mqtt_url is not None and settings.mqtt_url.get_secret_value():
        yield parse_broker_url(settings.mqtt_url.get_secret_value()), None
        return
    embedded = EmbeddedBroker(folder / "broker", prefix=settings.mqtt_prefix)
    try:
        await embedded.__aenter__()
    except BusError as error:
        raise CannotStart(str(error)) from None
    try:
        yield embedded.address, embedded.reader
    finally:
        await embedded.__aexit__()
