"""A PostgreSQL of the benches' own, on loopback, as a distribution configures it."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

SUPERUSER = "hutong"


class Server:
    """Runs while it is entered. Debian's defaults, but for 512 MB of shared buffers."""

    def __enter__(self) -> "Server":
        self._folder = Path(tempfile.mkdtemp(prefix="hutong-bench-postgres-"))
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        programs = _programs()
        data = self._folder / "data"
        subprocess.run(
            [
                programs / "initdb",
                *("-D", data, "-U", SUPERUSER, "--auth=trust"),
                *("--encoding=UTF8", "--locale=C.UTF-8"),
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._as,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                programs / "postgres",
                *("-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", self._folder),
                *("-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as,
        )
        give_up_s = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError), self._connect():
                return self
            if time.monotonic() > give_up_s:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        shutil.rmtree(self._folder)

    def create(self, name: str) -> str:
        """A new database; its URL."""
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{name}"

    def _connect(self) -> psycopg.Connection:
        url = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)


def _programs() -> Path:
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: int(p.split("/")[4])
    )
    path = found[-1] if found else shutil.which("initdb")
    if path is None:
        raise RuntimeError("no initdb: install PostgreSQL (Debian's postgresql package)")
    return Path(path).parent
