"""The one visible table of adapter kinds, and what others install under `hutong.adapters`."""

import dataclasses
import functools
import importlib
import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from adapters.base import SEAM_VERSION, Adapter
from adapters.errors import InvalidSettings

ENTRY_POINTS = "hutong.adapters"
"""Where a package of its own names its adapter, as ``kind = "module:Class"``."""
CONTRACTS = "hutong.contracts"
"""Where it names the contract that its adapter keeps, by the same kind."""
SERVES = ("video", "trunk", "ptt")

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """name: as in a device's `adapter`. serves: ``video``, ``trunk`` or ``ptt``.
    target: ``module:Class``, imported when first used. unavailable: why it cannot be used here,
    where that is known already."""

    name: str
    serves: str
    target: str
    unavailable: str = ""

    def load(self) -> type[Adapter]:
        """Raises: InvalidSettings naming the package that is not installed, or what is wrong."""
        if self.unavailable:
            raise InvalidSettings(self.unavailable)
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
    built-in kind cannot be taken over. A package that cannot be used says why when it is loaded:
    somebody's mistake does not stop the kinds of others.
    """
    table = {kind.name: kind for kind in BUILT_IN}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in table:
            _LOG.warning("adapter kind taken: name=%s left_out=%s", point.name, point.value)
            continue
        table[point.name] = kind_of(point)
        if table[point.name].unavailable:
            _LOG.warning("adapter kind unavailable: %s", table[point.name].unavailable)
    return table


def load(name: str) -> type[Adapter]:
    """The adapter class of a kind. Raises: InvalidSettings naming the kinds there are."""
    table = kinds()
    if name not in table:
        known = ", ".join(sorted(table))
        raise InvalidSettings(f"there is no adapter kind {name!r}; there are {known}")
    return table[name].load()


def kind_of(point: EntryPoint) -> Kind:
    """What an entry point of `ENTRY_POINTS` gives; `unavailable` when that cannot be used."""
    try:
        adapter = point.load()
        wrong = _unfit(adapter)
    except Exception as error:  # importing runs somebody else's code
        adapter, wrong = None, f"{type(error).__name__}: {error}"
    if wrong:
        reason = f"the adapter kind {point.name!r} cannot be used here: {point.value}: {wrong}"
        return Kind(name=point.name, serves="video", target=point.value, unavailable=reason)
    serves = getattr(adapter, "serves", "video")
    return Kind(name=point.name, serves=serves, target=point.value)


def _unfit(adapter: object) -> str:
    """Why what a package names is not an adapter for this gateway; empty when it is."""
    if not (isinstance(adapter, type) and issubclass(adapter, Adapter)):
        return "it is no subclass of adapters.base.Adapter"
    if adapter.seam_version != SEAM_VERSION:
        written = f"it is written for version {adapter.seam_version} of the seam"
        return f"{written}, and this gateway has version {SEAM_VERSION}"
    if not hasattr(getattr(adapter, "Settings", None), "model_json_schema"):
        return "its Settings are no pydantic model"
    if getattr(adapter, "serves", "video") not in SERVES:
        return f"it serves none of {', '.join(SERVES)}"
    return ""
