"""Which radio system a message is about. Pure; the clock is passed in.

`sys_num` is a place in a configuration file and changes when that is edited, so it names nothing.
A trunked system is who it says on the air, (wacn, sysid), whichever site and whichever recorder
hears it; a conventional one, which says nothing, is (instance_id, sys_name).
"""

from collections import OrderedDict
from collections.abc import Mapping

from adapters.trunk_recorder.wire import System

WARM_UP_S = 5.0
"""How long a trunked system may take to say who it is before it goes by its recorder's name."""
MOST_SYSTEMS = 256

Site = tuple[str, str]
"""(instance_id, sys_name)"""


class Identities:
    """What is known of the sites of a feed. named: what a site is called while nobody says who it
    is, by its recorder's name (``east-antenna:p25trunk``)."""

    def __init__(self, named: Mapping[str, str] | None = None) -> None:
        self._given = dict(named or {})
        self._known: dict[Site, System] = {}
        self._first_asked_s: OrderedDict[Site, float] = OrderedDict()
        self._named: dict[str, set[Site]] = {}

    def learn(self, instance_id: str, system: System) -> None:
        site = (instance_id, system.sys_name)
        if site in self._known or len(self._known) < MOST_SYSTEMS:
            before = self._known.get(site)
            if before is not None and system.sysid == "0" and before.kind == system.kind:
                return  # it restarts, and has not decoded again who it is
            self._known[site] = system
            if (name := _own_name(site, system)) is not None:
                self._named.setdefault(name, set()).add(site)

    def name(self, site: Site, now_s: float) -> str | None:
        """``BEE00-1AE``, or ``east-antenna:airport``; None while it may still say who it is."""
        system = self._known.get(site)
        name = _own_name(site, system) or self._given.get(_recorders_name(site))
        if name is None:
            asked_s = self._first_asked_s.setdefault(site, now_s)
            if len(self._first_asked_s) > MOST_SYSTEMS:
                self._first_asked_s.popitem(last=False)
            if now_s < asked_s + WARM_UP_S:
                return None
            name = _recorders_name(site)
        self._named.setdefault(name, set()).add(site)
        return name

    def sites_of(self, name: str) -> frozenset[Site]:
        """The sites that go, or went, by this name."""
        return frozenset(self._named.get(name, ()))

    def site_shown(self, site: Site) -> str:
        """A site for a person: ``east-antenna/p25trunk (1.7)``, with RFSS and site number."""
        system = self._known.get(site)
        numbers = f" ({system.rfss}.{system.site_id})" if system and system.site_id else ""
        return "/".join(site) + numbers


def _own_name(site: Site, system: System | None) -> str | None:
    if system is None:
        return None
    if "conventional" in system.kind.lower():
        return _recorders_name(site)
    return f"{system.wacn}-{system.sysid}" if system.sysid != "0" else None


def _recorders_name(site: Site) -> str:
    return ":".join(part.replace("/", "_") for part in site)
