"""The one visible table of adapter kinds, and what others install under `hutong.adapters`."""

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points

from adapters.base import Adapter
from adapters.errors import InvalidSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """name: as in a device's `adapter`. serves: ``video``, ``trunk`` or ``ptt``.
    target: ``module:Class``, imported when first used."""

    name: str
    serves: str
    target: str

    def load(self) -> type[Adapter]:
        """Raises: InvalidSettings naming the package that is not installed."""
        module, _, attribute = self.target.partition(":")
        try:
            adapter: type[Adapter] = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            reason = f"the adapter kind {self.name!r} cannot be used here: {error}"
            raise InvalidSettings(reason) from error
        return adapter


BUILT_IN = (
    Kind(name="onvif", serves="video", target="adapters.onvif.adapter:OnvifAdapter"),
    Kind(name="rtsp", serves="video", target="adapters.rtsp.adapter:RtspAdapter"),
    Kind(name="homebrew", serves="trunk", target="adapters.homebrew.adapter:HomebrewAdapter"),
    Kind(
        name="trunk_recorder",
        serves="trunk",
        target="adapters.trunk_recorder.adapter:TrunkRecorderAdapter",
    ),
    Kind(name="mmdvm", serves="trunk", target="adapters.mmdvm.adapter:MmdvmAdapter"),
    Kind(name="zello", serves="ptt", target="adapters.zello.adapter:ZelloAdapter"),
)


@functools.cache
def kinds() -> Mapping[str, Kind]:
    """All kinds by name, as installed when first asked.

    An entry point's value is ``module:Class``, and its class says what it `serves`; the name of a
    built-in kind cannot be taken over.
    """
    table = {kind.name: kind for kind in BUILT_IN}
    for point in entry_points(group="hutong.adapters"):
        if point.name not in table:
            serves = getattr(point.load(), "serves", "video")
            table[point.name] = Kind(name=point.name, serves=serves, target=point.value)
    return table


def load(name: str) -> type[Adapter]:
    """The adapter class of a kind. Raises: InvalidSettings naming the kinds there are."""
    table = kinds()
    if name not in table:
        known = ", ".join(sorted(table))
        raise InvalidSettings(f"there is no adapter kind {name!r}; there are {known}")
    return table[name].load()
