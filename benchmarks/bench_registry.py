"""Lists, search, clusters, imports and re-partition, at a district's size and at a province's.

On SQLite and on PostgreSQL; the limit of each is measured in the same run: for lists the bare
query of the driver and its serialisation, in one thread; for imports the bare insert with the same
indexes. `python -m benchmarks registry`; HUTONG_BENCH_POINTS=14500 leaves the province out.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import openpyxl

from benchmarks import Row, province, row
from benchmarks.load import Load, load
from benchmarks.postgres import Server
from registry import organizations, repartition
from registry.database import Connection, Database
from registry.exchange.bulk import insert_rows, stored
from registry.identity import now
from registry.models import POINTS
from registry.partition import SYSTEM

SIZES = (14_500, 1_000_000)
CLIENTS = 16
SECONDS = 8.0
WORKROOM, DISTRICT, ROOT = "p/d03/s1/w3", "p/d03", "p"
WORDS = ("停车", "东门", "和平", "路口")


def rows() -> list[Row]:
    only = os.environ.get("HUTONG_BENCH_POINTS")
    sizes = (int(only),) if only else SIZES
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="hutong-bench-") as folder, Server() as postgres:
        for kind in ("sqlite", "postgresql"):
            for size in sizes:
                place = Path(folder) / f"{kind}-{size}"
                place.mkdir()
                url = f"sqlite:///{place / 'hutong.db'}"
                if kind == "postgresql":
                    url = postgres.create(f"bench_{size}")
                found += _of(kind, size, url, place)
                shutil.rmtree(place)
    return found


def _of(kind: str, size: int, url: str, folder: Path) -> list[Row]:
    where = f"{kind}, {size:,}"
    print(f"  {where} …", file=sys.stderr, flush=True)
    database = Database(url, statement_timeout_s=600)
    try:
        database.upgrade_now()
        rooms = province.organized(database)
        tokens = {
            path: province.person(database, "viewer", path)
            for path in (rooms_path(rooms), DISTRICT, ROOT)
        }
        found = _imports(where, database, url, rooms, size, folder)
        province.settle(url)
        found += _lists(where, kind, size, database, url, rooms, tokens, folder)
        found.append(_repartition(where, database, size))
        return found
    finally:
        database.close_now()


def rooms_path(rooms: list[province.Workroom]) -> str:
    """The workroom that is looked at, which is one of these."""
    return next(each.path for each in rooms if each.path == WORKROOM)


# --- imports --------------------------------------------------------------------------------------


def _imports(
    where: str,
    database: Database,
    url: str,
    rooms: list[province.Workroom],
    size: int,
    folder: Path,
) -> list[Row]:
    """Fill the registry by an import, after the bare insert of as many points, undone again."""
    bare_s = _bare_insert(database, rooms, size)
    big = size > 100_000
    file = folder / ("points.csv" if big else "points.xlsx")
    if big:
        province.write_csv(file, rooms, size)
    else:
        _write_xlsx(file, rooms, size)
    seconds, peak_mb, report = _import(url, folder, file)
    name = f"import of {size:,} rows of {file.suffix[1:].upper()}, {where}"
    lock = report.get("write_lock_s")
    extra = [] if lock is None else [row(f"{name}: longest write lock", float(lock), "s")]
    if big:
        speed = row(name, size / seconds, "rows/s", at_least=10_000, limit=size / bare_s)
        return [speed, row(f"{name}: memory", peak_mb, "MB", at_most=400), *extra]
    start = folder / "one.csv"
    start.write_text("name\n", "utf-8")
    start_s, _, _ = _import(url, folder, start)
    extra.append(row(f"{name}: of these, the start of the command", start_s, "s"))
    return [row(name, seconds, "s", at_most=2.5, limit=bare_s), *extra]


def _bare_insert(database: Database, rooms: list[province.Workroom], size: int) -> float:
    """Seconds to insert the points with their indexes, and nothing else."""
    home = database.read_now(lambda connection: organizations.get(connection, SYSTEM, ROOT))
    took: list[float] = []

    class Undone(Exception):
        pass

    def write(connection: Connection) -> None:
        at = stored(connection, now(), POINTS.c.created_at)
        no = 0 if connection.dialect.name == "sqlite" else False
        points = list(province.rows(rooms, size, home.id, at, no))
        with province.uncounted(connection):
            began_s = time.perf_counter()
            insert_rows(connection, POINTS, province.FIELDS, points)
            took.append(time.perf_counter() - began_s)
        raise Undone

    with contextlib.suppress(Undone):
        database.write_now(write)
    return took[0]


def _write_xlsx(file: Path, rooms: list[province.Workroom], size: int) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("points")
    for each in province.spreadsheet(rooms, size):
        sheet.append(each)
    book.save(file)


def _import(url: str, folder: Path, file: Path) -> tuple[float, float, dict[str, Any]]:
    """Seconds, peak memory in MB, and the report of `hutong import points`."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "gateway.cli", "import", "points", str(file)]
    environment = {**os.environ, "HUTONG_DATABASE_URL": url, "HUTONG_DATA_DIR": str(folder)}
    peak_kb = 0
    began_s = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [*command, "--organization", ROOT, "--report", str(report)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        while child.poll() is None:
            peak_kb = max(peak_kb, _peak_kb(child.pid))
            time.sleep(0.01)
        seconds = time.perf_counter() - began_s
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"the import failed: {said.read().decode(errors='replace')[-500:]}")
    return seconds, peak_kb / 1024, json.loads(report.read_text("utf-8"))


def _peak_kb(pid: int) -> int:
    """What a child's resource usage says of memory is that of this process, where it is more: a
    child begins as its parent's copy."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


# --- lists ----------------------------------------------------------------------------------------


def _lists(
    where: str,
    kind: str,
    size: int,
    database: Database,
    url: str,
    rooms: list[province.Workroom],
    tokens: dict[str, str],
    folder: Path,
) -> list[Row]:
    room = next(each for each in rooms if each.path == WORKROOM)
    bare_us = _bare_page_us(database, room.id)
    found: list[Row] = []
    with _gateway(url, folder) as (address, pid):

        def ask(path: str, *questions: str, clients: int = CLIENTS) -> tuple[Load, float]:
            before_s = _cpu_s(pid)
            got = load(address, tokens[path], questions, clients=clients, seconds=SECONDS)
            used_s = _cpu_s(pid) - before_s
            return got, used_s / (got.per_s * (SECONDS + 1)) * 1e6

        page = "/api/v1/points"
        got, cpu_us = ask(WORKROOM, page)
        least = 1_500 if kind == "sqlite" else 1_200
        least_here = least if size > 100_000 else None
        name = f"page of a workroom, {where}"
        found.append(row(name, got.per_s, "requests/s", at_least=least_here, limit=1e6 / bare_us))
        found.append(row(f"{name}: p99", got.p99_ms, "ms", at_most=20))
        ratio = cpu_us / bare_us
        found.append(row(f"{name}: CPU of the worker to bare", ratio, "times", at_most=2.5))
        got, _ = ask(DISTRICT, page)
        found.append(row(f"page of a district, {where}: p99", got.p99_ms, "ms", at_most=40))
        got, _ = ask(ROOT, page)
        found.append(row(f"page of the root, {where}: p99", got.p99_ms, "ms"))
        questions = [f"{page}?q={quote(word)}" for word in WORDS]
        got, _ = ask(DISTRICT, *questions, clients=1)
        found.append(row(f"search in a district, {where}: p99", got.p99_ms, "ms", at_most=30))
        zooms = [f"{page}/clusters?zoom={zoom}" for zoom in (5, 7, 9, 11)]
        got, _ = ask(ROOT, *zooms, clients=1)
        found.append(row(f"clusters of all, {where}: p99", got.p99_ms, "ms", at_most=150))
    return found


def _bare_page_us(database: Database, organization_id: str) -> float:
    """CPU of one page and its count by the driver alone, and their JSON; in µs."""
    columns = ", ".join(each.name for each in POINTS.c if each.name not in ("search", "updated_at"))
    mark = "?" if database.kind == "sqlite" else "%s"
    page = f"SELECT {columns} FROM points WHERE organization_id = {mark} ORDER BY id LIMIT 50"
    count = f"SELECT sum(points) FROM point_counts WHERE organization_id = {mark}"

    def measure(connection: Connection) -> float:
        driver: Any = connection.connection.driver_connection
        encoder = msgspec.json.Encoder()

        def once() -> None:
            found = driver.execute(page, (organization_id,)).fetchall()
            total = driver.execute(count, (organization_id,)).fetchone()[0]
            encoder.encode({"items": found, "total": total})

        return _mean_cpu_us(once)

    return database.read_now(measure)


def _mean_cpu_us(once: Callable[[], None]) -> float:
    """CPU of this process for one call, over as long as a load takes: a machine that is quick for
    a moment only is not what it is held against."""
    calls = 0
    began_s, give_up_s = time.process_time(), time.monotonic() + SECONDS
    while time.monotonic() < give_up_s:
        for _ in range(100):
            once()
        calls += 100
    return (time.process_time() - began_s) / calls * 1e6


@contextlib.contextmanager
def _gateway(url: str, folder: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """`hutong serve` on a free port: its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "HUTONG_DATABASE_URL": url,
        "HUTONG_DATA_DIR": str(folder / "data"),
        "HUTONG_HTTP_PORT": str(port),
        "HUTONG_HELLO_INTERFACES": "none",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "serve"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        yield ("127.0.0.1", port), child.pid
    finally:
        child.terminate()
        child.wait(30)


def _wait_until_ready(url: str) -> None:
    give_up_s = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if time.monotonic() > give_up_s:
            raise RuntimeError("the gateway did not start")
        time.sleep(0.1)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- re-partition ---------------------------------------------------------------------------------


def _repartition(where: str, database: Database, size: int) -> Row:
    """One workroom's polygon takes half of its neighbour's; then all points are looked at."""

    def widen(connection: Connection) -> None:
        found = organizations.get(connection, SYSTEM, "p/d03/s1/w3")
        assert found.jurisdiction
        ring = found.jurisdiction["coordinates"][0]
        west, east = ring[0][0], ring[1][0]
        box = (west - (east - west) / 2, ring[0][1], east, ring[2][1])
        organizations.set_jurisdiction(connection, SYSTEM, found.path, province.polygon(box))
        neighbour = organizations.get(connection, SYSTEM, "p/d03/s1/w2")
        assert neighbour.jurisdiction
        left = neighbour.jurisdiction["coordinates"][0]
        middle = (left[0][0] + left[1][0]) / 2
        rest = (left[0][0], left[0][1], middle, left[2][1])
        organizations.set_jurisdiction(connection, SYSTEM, neighbour.path, province.polygon(rest))

    database.write_now(widen)

    def run(connection: Connection) -> int:
        made = repartition.plan(connection, SYSTEM, ROOT)
        repartition.apply(connection, SYSTEM, made)
        return made.moved

    began_s = time.perf_counter()
    moved = database.write_now(run)
    seconds = time.perf_counter() - began_s
    assert 0 < moved < size / 100
    return row(f"re-partition, {where}", seconds, "s", at_most=10)
