"""What routes reach beyond the registry: cameras, live view, the bus. At `app.state.services`."""

import dataclasses
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.agents.cameras import Cameras
from gateway.agents.diagnosis import DiagnosisRounds
from gateway.agents.fleet import Fleet
from gateway.agents.ptz_lock import PtzLocks
from gateway.agents.radio import RadioAgent
from gateway.agents.system_states import SystemStates
from gateway.api.background import Jobs
from gateway.api.sight import Seen
from gateway.bus.client import Bus
from gateway.interop.bridge import Bridge
from gateway.interop.feed import Feed
from gateway.interop.journal import Journal
from gateway.live import LiveService
from gateway.live.covers import Covers
from gateway.live.masking import Masking
from gateway.live.mediaserver import MediaServers
from gateway.live.record import ViewingRecord
from gateway.live.snapshots import Snapshots
from gateway.live.thumbnails import Thumbnails
from gateway.live.whep import WhepViews
from gateway.vision import PicturePool
from registry.database import Database


@dataclasses.dataclass(slots=True, kw_only=True)
class Services:
    """nudge: tells the roster that something was written. systems: this node's radio agents by
    system id; system_states: of systems anywhere, as said on the bus. fleet: its devices. rounds:
    of video quality diagnosis, where this node makes any. history: the journal's database. bridge,
    journal: where this node has them. covers: what is hidden of pictures; without them a masked
    point is shown to nobody who may not see it clear. masking, record: of live view, for their
    figures. media: external media servers, where there are any. thumbnails: where any are kept.
    seen: who was shown which of them."""

    bus: Bus
    feed: Feed
    cameras: Cameras
    live: LiveService
    pictures: PicturePool
    jobs: Jobs
    nudge: Callable[[], None]
    systems: dict[str, RadioAgent]
    system_states: SystemStates | None = None
    fleet: Fleet
    rounds: DiagnosisRounds | None
    history: Database | None = None
    bridge: Bridge | None = None
    journal: Journal | None = None
    covers: Covers | None = None
    masking: Masking | None = None
    record: ViewingRecord | None = None
    peers: WhepViews | None = None
    media: MediaServers | None = None
    thumbnails: Thumbnails | None = None
    seen: Seen = dataclasses.field(default_factory=Seen)
    ptz_locks: PtzLocks = dataclasses.field(default_factory=PtzLocks)
    snapshots: Snapshots = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.snapshots = Snapshots(
            device=lambda point_id: self.cameras.snapshot(point_id),
            open_media=lambda point_id, profile: self.cameras.open_media(point_id, profile),
            keyframe=lambda point_id, profile: self.live.keyframe(point_id, profile),
            pool=self.pictures,
            covers=self.covers,
        )


def current_services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


async def _services(connection: HTTPConnection) -> Services:
    return current_services(connection)


CurrentServices = Annotated[Services, Depends(_services)]
