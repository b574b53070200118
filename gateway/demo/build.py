"""Builds the demo's district through the public API, as any integrator's program would."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from gateway.demo.district import (
    DISTRICT,
    PATCHED,
    PHONES,
    PTT_CHANNELS,
    RADIOS,
    TALKGROUPS,
    USERS,
    CameraPlan,
    places,
    polygon,
)

AT_ONCE = 8
DISCOVERY_TIMEOUT_S = 1.0
DISCOVERIES = 3
"""UDP answers get lost on a busy machine."""
SETTLE_TIMEOUT_S = 10.0

Say = Callable[[str], None]


class BuildFailed(Exception):
    """One sentence: what was asked and what the answer was."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A sign-in of the demo."""

    name: str
    password: str
    role: str
    organization: str


class Builder:
    """An admin's session with the API. url: of the gateway."""

    def __init__(self, http: aiohttp.ClientSession, url: str, say: Say) -> None:
        self._http = http
        self._base = f"{url}/api/v1"
        self._say = say

    async def sign_in(self, name: str, password: str) -> None:
        answer = await self._call("POST", "/auth/login", {"name": name, "password": password})
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    async def organizations(self) -> None:
        """Stations and workrooms below the district, each with its polygon."""
        for place in places():
            area = polygon(place.cells)
            if place.parent is None:
                tree = await self._call("GET", f"/organizations/{place.slug}")
                await self._call("PUT", f"/organizations/{tree['id']}/jurisdiction", area)
                continue
            body = {
                "kind": place.kind,
                "name": place.name,
                "slug": place.slug,
                "parent": place.parent,
                "jurisdiction": area,
            }
            await self._call("POST", "/organizations", body)
        self._say(f"{len(places())} organisations with their jurisdictions")

    async def points(self, cameras: Sequence[CameraPlan]) -> None:
        """The district's list of points: where cameras are, before any is registered."""
        await self._each(
            [
                (
                    "/points",
                    {
                        "organization": DISTRICT,
                        "name": camera.name,
                        "place": camera.place,
                        "longitude": camera.longitude_deg,
                        "latitude": camera.latitude_deg,
                        "category": camera.category,
                        "ownership": camera.ownership,
                        "host": camera.host,
                        "channel_number": 1,
                    },
                )
                for camera in cameras
            ]
        )
        self._say(f"{len(cameras)} points, each given to the workroom whose polygon covers it")

    async def discovered(self, expected: Sequence[str]) -> list[str]:
        """Endpoints found by WS-Discovery on loopback, of those that are ours."""
        body = {"interfaces": ["127.0.0.1"], "timeout_s": DISCOVERY_TIMEOUT_S}
        ours, found = set(expected), set[str]()
        for _ in range(DISCOVERIES):
            job = await self._call("POST", "/devices/discover", body)
            while job["state"] in ("queued", "running"):
                await asyncio.sleep(0.1)
                job = await self._call("GET", f"/jobs/{job['id']}")
            if job["state"] != "done":
                raise BuildFailed(f"the discovery failed: {job['report']}")
            found |= ours & {each["endpoint"] for each in job["report"]["found"]}
            if found == ours:
                break
        self._say(f"{len(found)} of {len(ours)} cameras found by WS-Discovery")
        return [endpoint for endpoint in expected if endpoint in found]

    async def devices(
        self,
        endpoints: Sequence[str],
        cameras: Sequence[CameraPlan],
        rtsp: Sequence[dict[str, Any]],
    ) -> None:
        """Register what was found, and the plain RTSP cameras by their address."""
        by_host = {camera.host: camera for camera in cameras}
        bodies = []
        for endpoint in endpoints:
            camera = by_host[endpoint.split("/")[2].rsplit(":", 1)[0]]
            bodies.append(
                {
                    "adapter": "onvif",
                    "endpoint": endpoint,
                    "username": camera.username,
                    "password": camera.password,
                    "organization": DISTRICT,
                    "name": camera.name,
                }
            )
        answers = await self._each([("/devices", body) for body in [*bodies, *rtsp]])
        bound = sum(len(answer["bound"]) for answer in answers)
        created = sum(len(answer["created"]) for answer in answers)
        self._say(f"{len(answers)} cameras registered: {bound} bound to points, {created} new")

    async def radio(self, master_port: int, ptt_url: str, secret: str) -> None:
        """Two systems, their channels, the people, and the patch. The systems start when all
        their channels are there."""
        trunk = await self._call(
            "POST",
            "/systems",
            {
                "adapter": "homebrew",
                "name": "350M 集群 (DMR)",
                "enabled": False,
                "organization": DISTRICT,
                "settings": {"port": master_port, "passphrase": f"{secret}-dmr"},
            },
        )
        ptt = await self._call(
            "POST",
            "/systems",
            {
                "adapter": "zello",
                "name": "公网对讲 (PTT)",
                "enabled": False,
                "organization": DISTRICT,
                "settings": {
                    "url": ptt_url,
                    "username": "gateway",
                    "password": f"{secret}-ptt",
                },
            },
        )
        channels: dict[str, str] = {}
        for system, table in ((trunk, TALKGROUPS), (ptt, PTT_CHANNELS)):
            for address, name, organization in table:
                body = {
                    "system": system["id"],
                    "address": address,
                    "name": name,
                    "organization": organization,
                }
                channels[address] = (await self._call("POST", "/channels", body))["id"]
        await self._people(trunk["id"], ptt["id"])
        await self._call(
            "POST",
            "/patches",
            {
                "name": "指挥互联 Command patch",
                "organization": DISTRICT,
                "voice": "silence",
                "members": [{"channel": channels[address]} for address in PATCHED],
            },
        )
        for system in (trunk, ptt):
            await self._call(
                "PATCH", f"/systems/{system['id']}", {"enabled": True}, version=system["version"]
            )
        self._say("a trunked and a push-to-talk system with four channels, and one patch")

    async def _people(self, trunk: str, ptt: str) -> None:
        """Radios and phones by name; a phone also has a radio id to appear under."""
        units: list[Mapping[str, Any]] = [
            {"alias": alias, "addresses": [{"system": trunk, "address": str(radio)}]}
            for radio, alias in RADIOS
        ]
        units += [
            {
                "alias": alias,
                "addresses": [
                    {"system": ptt, "address": phone},
                    {"system": trunk, "address": str(3109000 + number)},
                ],
            }
            for number, (phone, alias) in enumerate(PHONES, start=1)
        ]
        await self._each([("/units", {"organization": DISTRICT, **unit}) for unit in units])

    async def users(self, password_of: Callable[[str], str]) -> list[Person]:
        """One user for each role; the admin is there already."""
        people = [
            Person(name=name, password=password_of(name), role=role, organization=organization)
            for name, role, organization in USERS
        ]
        bodies = []
        for person in people:
            role: dict[str, Any] = {"role": person.role, "organization": person.organization}
            roles = [role]
            if person.role == "clear_view":
                ends_at = datetime.now(UTC) + timedelta(days=30)
                role |= {"purpose": "demo", "ends_at": ends_at.isoformat()}
                roles.append({"role": "viewer", "organization": person.organization})
            if person.role != "admin":
                bodies.append({"name": person.name, "password": person.password, "roles": roles})
        await self._each([("/users", body) for body in bodies])
        self._say(f"{len(people)} users, one for each role")
        return people

    async def settled(self, cameras: int) -> None:
        """Wait until every camera is online and the patch's members can be heard."""
        deadline = asyncio.get_running_loop().time() + SETTLE_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            online = await self._call("GET", "/points?status=online&limit=1")
            patches = await self._call("GET", "/patches")
            states = [patch["state"] for patch in patches["items"]]
            ready = all(
                state and all(member["health"] == "ok" for member in state["members"])
                for state in states
            )
            if online["total"] >= cameras and ready:
                self._say(f"{online['total']} cameras online, radio and push-to-talk joined")
                return
            await asyncio.sleep(0.1)
        self._say("not everything is online yet; the console shows what is missing")

    async def _each(self, bodies: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def post(path: str, body: Any) -> dict[str, Any]:
            async with slots:
                return await self._call("POST", path, body)

        return list(await asyncio.gather(*(post(path, body) for path, body in bodies)))

    async def _call(
        self, method: str, path: str, body: Any = None, version: int | None = None
    ) -> dict[str, Any]:
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        url = self._base + path
        try:
            async with self._http.request(method, url, json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BuildFailed(f"{method} {url}: {error or type(error).__name__}") from None
        if response.status >= 400:
            raise BuildFailed(f"{method} {path}: {answer.get('detail', response.status)}")
        return answer
