"""What a radio system says of itself and its units, as the bus tells it."""

from collections.abc import Callable
from typing import Any

from adapters import events as seam


def told(
    event: seam.SystemEvent, talker: Callable[[str], str]
) -> tuple[str, dict[str, Any]] | None:
    """(type, data) of the system event; None for one that has no place on the bus.

    talker: a unit's address as every wire has it.
    """
    match event:
        case seam.UnitRegistered():
            return "unit.registered", _unit(talker(event.unit), event.alias)
        case seam.UnitDeregistered():
            return "unit.deregistered", _unit(talker(event.unit))
        case seam.UnitLocation():
            return "unit.location", {
                **_unit(talker(event.unit), event.unit_alias),
                "longitude": event.longitude_deg,
                "latitude": event.latitude_deg,
                "site": event.site,
                "place": event.place,
            }
        case seam.PrivateTalk():
            return "talk.private", {
                **_unit(talker(event.unit), event.unit_alias),
                "to": talker(event.to),
                "active": event.active,
            }
        case seam.TalkRefused():
            return "talk.refused", {
                **_unit(talker(event.unit)),
                "address": event.address,
                "queued": event.queued,
                "reason": event.reason,
            }
        case seam.ChannelsPatched():
            return "channels.patched", {
                "addresses": list(event.addresses),
                "active": event.active,
            }
    return None


def _unit(talker: str, alias: str = "") -> dict[str, Any]:
    return {"talker": talker, "talker_alias": alias}
