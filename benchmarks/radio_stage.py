"""What `bench_radio` measures, in a process of its own: a bridge with its journal, or an echo.

``python -m benchmarks.radio_stage bridge NODE MQTT_URL DATABASE_URL PATCHES`` and ``… echo NODE
MQTT_URL``. It says ``ready`` on standard output, and runs until it is ended.
"""

import asyncio
import sys

import uvloop

from benchmarks.bench_journal import definitions, running
from gateway.bus.address import parse_broker_url
from gateway.bus.client import Bus
from gateway.bus.link import Link, connect
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.garbage import leave_alone_what_stays
from gateway.interop.bridge import Bridge
from gateway.interop.directory import Directory
from gateway.interop.journal import Journal
from gateway.interop.lease import BridgeLease
from registry import journal
from registry.database import Database

THERE, BACK = "hutong/v1/there", "hutong/v1/back"


async def bridge(node: str, mqtt_url: str, database_url: str, patches: str) -> None:
    registry, store = Database(database_url), journal.open_store(database_url)
    await registry.upgrade()
    await store.upgrade()
    bus = Bus(parse_broker_url(mqtt_url), node=node, topics=Topics(), roles=("bridge",))
    presence = Presence(bus, asyncio.get_running_loop().time)
    lease = BridgeLease(bus, presence)
    Bridge(bus, presence, lease, Directory()).define(definitions(int(patches)))
    async with running(bus.run(), lease.run(), Journal(bus, lease, store, registry).run()):
        await bus.connected.wait()
        leave_alone_what_stays()  # as every node does
        print("ready", flush=True)
        await asyncio.Event().wait()


async def echo(node: str, mqtt_url: str) -> None:
    links: list[Link] = []

    def answer(_topic: str, payload: bytes) -> None:
        links[0].publish(BACK, payload)

    async with connect(parse_broker_url(mqtt_url), node, answer) as link:
        links.append(link)
        await link.subscribe(THERE, 0)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(bridge(*sys.argv[2:]) if sys.argv[1] == "bridge" else echo(*sys.argv[2:]))
