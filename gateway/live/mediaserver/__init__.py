"""Live view through external media servers (MediaMTX), which share the load of viewers."""

from gateway.live.mediaserver.errors import MediaServerError
from gateway.live.mediaserver.examination import examine
from gateway.live.mediaserver.keys import KeyRing
from gateway.live.mediaserver.service import Handed, MediaServers
from gateway.live.mediaserver.settings import MediaServerSettings, addresses

__all__ = [
    "Handed",
    "KeyRing",
    "MediaServerError",
    "MediaServerSettings",
    "MediaServers",
    "addresses",
    "examine",
]
