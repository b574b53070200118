"""Moving the head of one source: continuous with its end, by a way, to a place, to presets."""

import asyncio
import contextlib
import math

from adapters.errors import AdapterError, NotSupported
from adapters.events import (
    DONE,
    Command,
    FindPreset,
    GoToPreset,
    ListPresets,
    MovePtz,
    Outcome,
    PlacePtz,
    RemovePreset,
    Result,
    SetPreset,
    ShiftPtz,
)
from adapters.onvif import ptz_wire
from adapters.onvif.client import OnvifClient
from adapters.onvif.soap import Call, DeviceFault

MOVES = (
    *(MovePtz, ShiftPtz, PlacePtz, GoToPreset),
    *(ListPresets, FindPreset, SetPreset, RemovePreset),
)
_PRESETS_HOLD_S = 10.0
"""While nobody but us changes them."""


class Heads:
    """What is under way at the heads of one device; lives as long as its adapter."""

    def __init__(self) -> None:
        self._latest: dict[str, int] = {}  # source -> number of its latest movement
        self._scales: ptz_wire.Scales | None = None
        self._presets: dict[str, tuple[float, tuple[ptz_wire.Preset, ...]]] = {}

    async def execute(self, client: OnvifClient, profile: str, command: Command) -> Outcome:
        """Carry out one of `MOVES`; a continuous movement has stopped when this returns.

        profile: one of the source's, with a PTZ configuration. Raises: AdapterError.
        """
        if (wrong := _out_of_range(command)) is not None:
            return wrong
        try:
            return await self._execute(client, profile, command)
        except DeviceFault as fault:
            return Outcome(result=Result.REFUSED, reason=fault.message)

    async def _execute(self, client: OnvifClient, profile: str, command: Command) -> Outcome:
        match command:
            case MovePtz():
                await self._move(client, profile, command)
            case ShiftPtz():
                scales = await self._known_scales(client)
                await self._once(client, ptz_wire.relative_move(profile, command, scales), command)
            case PlacePtz():
                scales = await self._known_scales(client)
                await self._once(client, ptz_wire.absolute_move(profile, command, scales), command)
            case ListPresets():
                found = await client.call(ptz_wire.get_presets(profile))
                names = tuple(dict.fromkeys(each.name for each in found))
                return Outcome(result=Result.DONE, presets=names)
            case FindPreset():
                return await self._find(client, profile)
            case _:
                return await self._preset(client, profile, command)
        return DONE

    async def _move(self, client: OnvifClient, profile: str, move: MovePtz) -> None:
        """Move, then stop, unless a later movement of the same source has taken over."""
        number = self._begin(move.address)
        if (move.pan or move.tilt or move.zoom) and move.duration_ms > 0:
            scales = await self._known_scales(client)
            try:
                await client.call(ptz_wire.continuous_move(profile, move, scales))
                await asyncio.sleep(move.duration_ms / 1_000)
            except DeviceFault:
                raise  # it did not move
            except BaseException:
                # Whoever asked is gone, or the answer was lost: the camera must not run on.
                if self._latest[move.address] == number:
                    with contextlib.suppress(AdapterError):
                        await _stop(client, profile)
                raise
        if self._latest[move.address] == number:
            await _stop(client, profile)

    async def _once(self, client: OnvifClient, call: Call[None], command: Command) -> None:
        """What ends by itself takes over from a movement that does not."""
        self._begin(command.address)
        await client.call(call)

    def _begin(self, address: str) -> int:
        self._latest[address] = self._latest.get(address, 0) + 1
        return self._latest[address]

    async def _find(self, client: OnvifClient, profile: str) -> Outcome:
        """Raises: NotSupported where the device does not tell."""
        status = await client.call(ptz_wire.get_status(profile))
        if status.place is None:
            raise NotSupported("the camera does not tell where it points")
        now_s = asyncio.get_running_loop().time()
        read_s, presets = self._presets.get(profile, (-_PRESETS_HOLD_S, ()))
        if now_s - read_s >= _PRESETS_HOLD_S:
            presets = await client.call(ptz_wire.get_presets(profile))
            self._presets[profile] = (now_s, presets)
        if presets and not any(each.place for each in presets):
            raise NotSupported("the camera does not tell where its presets are")
        at = [each.name for each in presets if each.place and each.place.is_at(status.place)]
        return Outcome(result=Result.DONE, presets=() if status.moving else tuple(at))

    async def _preset(self, client: OnvifClient, profile: str, command: Command) -> Outcome:
        assert isinstance(command, GoToPreset | SetPreset | RemovePreset)
        self._presets.pop(profile, None)
        found = await client.call(ptz_wire.get_presets(profile))
        token = next((each.token for each in found if each.name == command.name), "")
        if isinstance(command, SetPreset):
            await client.call(ptz_wire.set_preset(profile, command.name, token))
            return DONE
        if not token:
            reason = f"there is no preset {command.name!r}"
            return Outcome(result=Result.REFUSED, reason=reason, missing=True)
        if isinstance(command, RemovePreset):
            await client.call(ptz_wire.remove_preset(profile, token))
        else:
            await self._once(client, ptz_wire.go_to_preset(profile, token), command)
        return DONE

    async def _known_scales(self, client: OnvifClient) -> ptz_wire.Scales:
        """Asked for once; a device that does not tell has the generic ones."""
        if self._scales is None:
            try:
                self._scales = await client.call(ptz_wire.GET_NODES)
            except (NotSupported, DeviceFault):
                self._scales = ptz_wire.Scales()
        return self._scales


async def _stop(client: OnvifClient, profile: str) -> None:
    try:
        await client.call(ptz_wire.stop_move(profile))
    except (NotSupported, DeviceFault):
        await client.call(ptz_wire.halt(profile))


def _out_of_range(command: Command) -> Outcome | None:
    if isinstance(command, PlacePtz):
        if (command.pan is None) != (command.tilt is None):
            return Outcome(result=Result.REFUSED, reason="pan and tilt go together")
        if command.zoom is not None and not 0 <= command.zoom <= 1:
            return Outcome(result=Result.REFUSED, reason="zoom goes from 0 to 1")
        axes = [command.pan or 0.0, command.tilt or 0.0]
    elif isinstance(command, MovePtz | ShiftPtz):
        axes = [command.pan, command.tilt, command.zoom]
    else:
        return None
    if all(math.isfinite(each) and -1 <= each <= 1 for each in axes):
        return None
    return Outcome(result=Result.REFUSED, reason="pan, tilt and zoom go from -1 to 1")
