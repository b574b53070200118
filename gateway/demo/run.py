"""`hutong demo`: start the simulators and a gateway, build the district, say where it is."""

import asyncio
import contextlib
import json
import logging
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from gateway import logs
from gateway.demo.build import Builder, BuildFailed, Person
from gateway.demo.district import DISTRICT, CameraPlan, cameras
from gateway.demo.simulation import (
    RTSP_CAMERAS,
    Simulation,
    free_udp_port,
    playing,
    scenario,
    write,
)
from gateway.settings import Settings

# The gateway takes seconds to import; the simulators start meanwhile.
if TYPE_CHECKING:
    from gateway.app import Node


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


async def demo(settings: Settings, *, camera_count: int, as_json: bool, traffic: bool) -> None:
    """Until it is told to stop; every child ends with it, and its folder is removed.

    Raises: CannotStart.
    """
    secret = secrets.token_hex(4)
    plans = cameras(camera_count, secret)
    master_port = free_udp_port()
    with tempfile.TemporaryDirectory(prefix="hutong-demo-") as folder:
        settings = settings.model_copy(
            update={
                "data_dir": Path(folder),
                "database_url": None,
                "mqtt_url": None,
                "public_url": "",
                "hello_interfaces": "127.0.0.1",
            }
        )
        # Progress and sign-ins are what people look for; what goes wrong is still said.
        logs.configure(settings.log_format, logging.WARNING)
        content = scenario(
            plans,
            secret=secret,
            master_port=master_port,
            traffic=traffic,
            clips=Path(folder) / "clips",
        )
        file = Path(folder) / "scenario.yaml"
        write(file, content)
        _say("starting simulated cameras, repeaters, radios and a push-to-talk server")
        async with playing(file, Path(folder) / "simulators.log") as simulation:
            from gateway.app import run
            from gateway.startup import CannotStart

            async def build(node: "Node") -> None:
                people, simulated = await _build(node, plans, simulation, secret, master_port)
                _announce(node, people, simulated, as_json=as_json)

            try:
                await run(settings, "all", build)
            except* BuildFailed as failures:
                raise CannotStart(
                    f"the demo could not be built: {failures.exceptions[0]}"
                ) from None


async def _build(
    node: "Node",
    plans: list[CameraPlan],
    simulation: Simulation,
    secret: str,
    master_port: int,
) -> tuple[list[Person], dict[str, Any]]:
    from gateway.bootstrap import add_user

    def password_of(name: str) -> str:
        return f"{name}-{secret}"

    await add_user(
        node.database,
        name="admin",
        password=password_of("admin"),
        role="admin",
        organization=DISTRICT,
        district="沈河区",
    )
    # We ask ourselves: whose certificate it is does not matter.
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as http:
        builder = Builder(http, _own_url(node), _say)
        await builder.sign_in("admin", password_of("admin"))
        await builder.organizations()
        people, _ = await asyncio.gather(builder.users(password_of), builder.points(plans))
        simulated = await simulation.addresses()
        await builder.radio(master_port, simulated["zello"][0], secret)
        found = await builder.discovered(simulated["onvif"])
        await builder.devices(found, plans, _rtsp_bodies(simulated["rtsp"], secret))
        await builder.settled(len(found) + RTSP_CAMERAS)
    return people, simulated


def _own_url(node: "Node") -> str:
    """Where we reach the gateway ourselves: its own name may resolve for others only."""
    host = node.settings.http_host
    if host not in ("0.0.0.0", "::"):
        return node.url
    loopback = "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"{node.settings.scheme}://{loopback}:{node.url.rpartition(':')[2]}"


def _rtsp_bodies(urls: list[str], secret: str) -> list[dict[str, Any]]:
    return [
        {
            "adapter": "rtsp",
            "endpoint": url,
            "username": "view",
            "password": f"{secret}-rtsp-{number}",
            "organization": f"{DISTRICT}/nanta/room-0{number}",
            "name": f"物业岗亭 {number} Property gate",
            "settings": {"sub_endpoint": url.removesuffix("main") + "sub"},
        }
        for number, url in enumerate(urls, start=1)
    ]


def _announce(
    node: "Node", people: list[Person], simulated: dict[str, Any], *, as_json: bool
) -> None:
    reader = node.reader or node.broker
    if as_json:
        ready = {
            "url": node.url,
            "mqtt": {
                "host": reader.host,
                "port": reader.port,
                "username": reader.username,
                "password": reader.password,
            },
            "users": [
                {
                    "name": person.name,
                    "password": person.password,
                    "role": person.role,
                    "organization": person.organization,
                }
                for person in people
            ],
            "simulators": simulated,
            "data_dir": str(node.settings.data_dir),
        }
        sys.stdout.write(json.dumps(ready, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(_for_people(node, people, simulated))
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()


def _for_people(node: "Node", people: list[Person], simulated: dict[str, Any]) -> str:
    rows = [("name", "password", "role", "at")]
    rows += [(each.name, each.password, each.role, each.organization) for each in people]
    table = [f"  {row[0]:<12} {row[1]:<22} {row[2]:<12} {row[3]}" for row in rows]
    lines = [
        "",
        f"Hutong is ready: {node.url}",
        "",
        *table,
        "",
        f"Press radios and unplug cameras: {simulated['control']} (see simulators/README.md)",
        "Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines) + "\n"
