"""What `hutong doctor` asks of a media server."""

import aiohttp

from gateway.live.mediaserver import wire
from gateway.live.mediaserver.control import ControlApi
from gateway.live.mediaserver.errors import Refused
from gateway.live.mediaserver.keys import AUDIENCE, KeyRing
from gateway.live.mediaserver.settings import MediaServerSettings

MOST_CLOCK_OFFSET_S = 10.0


async def examine(settings: MediaServerSettings, keys: KeyRing) -> str:
    """One clause for each server. Raises: MediaServerError naming what has to be put right."""
    async with aiohttp.ClientSession() as session:
        said = [
            f"{url} {await _examine(ControlApi(url, keys.control_token, session))}"
            for url, _ in settings.servers
        ]
    return "; ".join(said)


async def _examine(api: ControlApi) -> str:
    await api.refuses_strangers()
    _, version = await api.info()
    configuration = await api.configuration()
    wire.check_safe(configuration, AUDIENCE)
    if abs(api.clock_ahead_s) > MOST_CLOCK_OFFSET_S:
        raise Refused(
            f"its clock differs from ours by {abs(api.clock_ahead_s):.0f} s, and tokens live for "
            "30 s: set both"
        )
    offer = wire.offer(configuration, api.url)
    offered = [name for name in ("whep", "hls", "rtsp") if getattr(offer, name)]
    said = f"is MediaMTX {version}, serves {', '.join(offered) or 'nothing'}"
    unneeded = wire.unneeded(configuration)
    return f"{said}; turn off what nobody is handed: {', '.join(unneeded)}" if unneeded else said
