"""Who is who: one person, many addresses, so that everybody is named the same way everywhere."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.interop.definitions import UnitDefinition


class Directory:
    """Units by their addresses. A talker on every wire is ``{system_id}/{address}``."""

    def __init__(self, units: Iterable[UnitDefinition] = ()) -> None:
        self._units: dict[str, UnitDefinition] = {}
        self.replace(units)

    def replace(self, units: Iterable[UnitDefinition]) -> None:
        self._units = {
            f"{system}/{address}": unit
            for unit in units
            for system in unit.addresses
            for address in unit.on(system)
        }

    def alias(self, talker: str, said: str = "") -> str:
        """The unit's alias; else what the system itself says."""
        unit = self._units.get(talker)
        return unit.alias if unit is not None else said

    def named(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an event says, with the alias that its talker has here."""
        unit = self._units.get(str(data.get("talker") or ""))
        if unit is None or data.get("talker_alias") == unit.alias:
            return data
        return {**data, "talker_alias": unit.alias}

    def priority(self, talker: str) -> int:
        unit = self._units.get(talker)
        return unit.priority if unit is not None else 0

    def unit_id(self, talker: str) -> str:
        """The id of the talker's unit, empty for one that nobody registered."""
        unit = self._units.get(talker)
        return unit.id if unit is not None else ""

    def on_system(self, talker: str, system_id: str) -> str:
        """The talker as its own address on another system, where its unit has one there."""
        unit = self._units.get(talker)
        addresses = unit.on(system_id) if unit is not None else ()
        if not addresses or talker.removeprefix(f"{system_id}/") in addresses:
            return talker
        return f"{system_id}/{addresses[0]}"
