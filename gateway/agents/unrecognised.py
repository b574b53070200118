"""What devices report and nobody here knows: logged once for each kind of device."""

import structlog

from adapters.events import Identity, Unrecognised

log = structlog.get_logger("devices")

_REMEMBERED = 2_000


class UnrecognisedLog:
    """One for all devices of a node: a hundred cameras of a kind say the same."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, str]] = set()

    def note(self, identity: Identity | None, event: Unrecognised) -> None:
        """The sample can be saved as ``input.xml`` of a case as it is logged."""
        maker = identity.manufacturer if identity else ""
        model = identity.model if identity else ""
        key = (maker, model, event.kind)
        if key in self._logged or len(self._logged) >= _REMEMBERED:
            return
        self._logged.add(key)
        log.warning(
            "unknown event",
            manufacturer=maker,
            model=model,
            firmware=identity.firmware if identity else "",
            topic=event.kind,
            case=event.sample,
        )
