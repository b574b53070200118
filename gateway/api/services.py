"""What routes reach beyond the registry: cameras, live view, the bus. At `app.state.services`."""

import dataclasses
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.agents.cameras import Cameras
from gateway.agents.diagnosis import DiagnosisRounds
from gateway.agents.fleet import Fleet
from gateway.agents.radio import RadioAgent
from gateway.api.background import Jobs
from gateway.bus.client import Bus
from gateway.interop.feed import Feed
from gateway.live import LiveService
from gateway.vision import PicturePool


@dataclasses.dataclass(slots=True, kw_only=True)
class Services:
    """nudge: tells the roster that something was written. systems: this node's radio agents by
    system id. fleet: its devices. rounds: of video quality diagnosis, where this node makes any."""

    bus: Bus
    feed: Feed
    cameras: Cameras
    live: LiveService
    pictures: PicturePool
    jobs: Jobs
    nudge: Callable[[], None]
    systems: dict[str, RadioAgent]
    fleet: Fleet
    rounds: DiagnosisRounds | None


def current_services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


async def _services(connection: HTTPConnection) -> Services:
    return current_services(connection)


CurrentServices = Annotated[Services, Depends(_services)]
