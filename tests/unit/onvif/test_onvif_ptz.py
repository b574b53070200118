"""Moves by a way and to a place, presets, scales, and the clock of a simulated camera."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from patience import wait_until

from adapters.events import (
    Command,
    FindPreset,
    GoToPreset,
    ListPresets,
    MovePtz,
    Outcome,
    PlacePtz,
    RemovePreset,
    Result,
    SetClock,
    SetPreset,
    ShiftPtz,
)
from adapters.onvif import ptz_wire, soap
from adapters.onvif.adapter import OnvifAdapter
from adapters.onvif.ptz_wire import Place, Scales, Space, Span
from simulators.onvif_camera import OnvifCamera, Position, Quirks

MakeAdapter = Callable[..., OnvifAdapter]

QUIRKS = [
    Quirks(),
    Quirks(ptz_speed=0.5, ptz_positions=(-180.0, 180.0)),
    Quirks(ptz_speed=100.0, ptz_positions=(0.0, 3_600.0)),
]


def sent(call: soap.Call[Any]) -> Any:
    return etree.fromstring(soap.encode(call, None)[0])


class TestScales:
    @pytest.mark.parametrize("quirks", QUIRKS, ids=["generic", "degrees", "steps"])
    async def test_full_speed_is_the_devices_own(
        self, adapter: OnvifAdapter, camera: OnvifCamera, quirks: Quirks
    ) -> None:
        camera.quirks = quirks
        task = asyncio.create_task(
            adapter.execute(
                MovePtz(address="source_1", pan=1.0, tilt=-0.5, zoom=1.0, duration_ms=60_000)
            )
        )
        await wait_until(lambda: camera.ptz_heads[1].moving)
        assert camera.ptz_heads[1].velocity == Position(pan=1.0, tilt=-0.5, zoom=1.0)
        task.cancel()
        await asyncio.wait([task])
        assert not camera.ptz_heads[1].moving

    @pytest.mark.parametrize("quirks", QUIRKS, ids=["generic", "degrees", "steps"])
    async def test_places_and_ways_are_too(
        self, adapter: OnvifAdapter, camera: OnvifCamera, quirks: Quirks
    ) -> None:
        camera.quirks = quirks
        head = camera.ptz_heads[1]
        await done(adapter, PlacePtz(address="source_1", pan=-0.5, tilt=0.25, zoom=0.75))
        assert head.position == Position(pan=-0.5, tilt=0.25, zoom=0.75)
        await done(adapter, ShiftPtz(address="source_1", pan=0.25))
        assert head.position.pan == pytest.approx(0.0)
        await done(adapter, PlacePtz(address="source_1", zoom=0.0))
        assert (head.position.tilt, head.position.zoom) == (pytest.approx(0.25), 0.0)
        assert camera.actions["GetNodes"] == 1

    def test_axes_that_rest_are_left_out(self) -> None:
        move = MovePtz(address="VS1", zoom=-1.0, duration_ms=1_500)
        document = sent(ptz_wire.continuous_move("p", move, Scales()))
        assert document.find(".//{*}PanTilt") is None
        assert document.find(".//{*}Zoom").get("x") == "-1"
        assert document.findtext(".//{*}Timeout") == "PT3S"

    def test_names_from_outside_stay_text(self) -> None:
        document = sent(ptz_wire.set_preset("a&b<", 'x"><y/>', "t&"))
        assert document.findtext(".//{*}ProfileToken") == "a&b<"
        assert document.findtext(".//{*}PresetName") == 'x"><y/>'
        space = Space(uri='"/><evil x="', x=Span(low=0, high=2))
        moved = ptz_wire.continuous_move("p", MovePtz(address="s", pan=1.0), Scales(velocity=space))
        assert sent(moved).find(".//{*}PanTilt").get("space") == '"/><evil x="'

    @given(st.floats(-1, 1), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
    def test_no_value_leaves_the_range_of_the_device(
        self, value: float, low: float, width: float
    ) -> None:
        span = Span(low=low, high=low + width)
        slack = 1e-6 * max(abs(span.low), abs(span.high), 1.0)
        assert span.low - slack <= span.place(value) <= span.high + slack
        if low <= 0 <= span.high:
            assert span.low - slack <= span.speed(value) <= span.high + slack
            assert span.speed(0.0) == 0.0

    @pytest.mark.parametrize(
        "node",
        [
            "",
            "<PTZNode/>",
            "<PTZNode><SupportedPTZSpaces><ContinuousPanTiltVelocitySpace><XRange><Min>1</Min>"
            "<Max>x</Max></XRange></ContinuousPanTiltVelocitySpace></SupportedPTZSpaces></PTZNode>",
            "<PTZNode><SupportedPTZSpaces><ContinuousPanTiltVelocitySpace><XRange><Min>1</Min>"
            "<Max>1</Max></XRange></ContinuousPanTiltVelocitySpace></SupportedPTZSpaces></PTZNode>",
        ],
    )
    def test_nonsense_is_as_the_standard_says(self, node: str) -> None:
        answer = (
            f'<s:Envelope xmlns:s="{soap.SOAP_12}"><s:Body><GetNodesResponse>{node}'
            "</GetNodesResponse></s:Body></s:Envelope>"
        )
        assert soap.decode(ptz_wire.GET_NODES, 200, answer.encode()) == Scales()


async def done(adapter: OnvifAdapter, command: Command) -> Outcome:
    outcome = await adapter.execute(command)
    assert outcome.result is Result.DONE, outcome
    return outcome


class TestPresets:
    async def test_are_set_listed_gone_to_replaced_and_removed(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        head = camera.ptz_heads[1]
        await done(adapter, PlacePtz(address="source_1", pan=0.5, tilt=0.5))
        await done(adapter, SetPreset(address="source_1", name="大门 <1>"))
        await done(adapter, PlacePtz(address="source_1", pan=-0.5, tilt=-0.5))
        await done(adapter, SetPreset(address="source_1", name="yard"))
        listed = await done(adapter, ListPresets(address="source_1"))
        assert listed.presets == ("大门 <1>", "yard")
        await done(adapter, GoToPreset(address="source_1", name="大门 <1>"))
        assert head.position.pan == pytest.approx(0.5)
        await done(adapter, SetPreset(address="source_1", name="yard"))
        assert len(head.presets) == 2
        await done(adapter, RemovePreset(address="source_1", name="大门 <1>"))
        assert (await done(adapter, ListPresets(address="source_1"))).presets == ("yard",)

    async def test_are_found_where_it_stands_at_one_and_does_not_move(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        find = FindPreset(address="source_1")
        await done(adapter, PlacePtz(address="source_1", pan=0.5, tilt=0.5))
        await done(adapter, SetPreset(address="source_1", name="gate"))
        assert (await done(adapter, find)).presets == ("gate",)
        camera.ptz_heads[1].go(Position(pan=0.49, tilt=0.5))  # somebody else did
        assert (await done(adapter, find)).presets == ()
        await done(adapter, SetPreset(address="source_1", name="yard"))
        assert (await done(adapter, find)).presets == ("yard",)
        camera.ptz_heads[1].move(Position(zoom=0.001), 60.0)
        assert (await done(adapter, find)).presets == ()

    @pytest.mark.parametrize("kind", [GoToPreset, RemovePreset])
    async def test_that_are_not_there_are_missing(
        self, adapter: OnvifAdapter, kind: type[Any]
    ) -> None:
        outcome = await adapter.execute(kind(address="source_1", name="nowhere"))
        assert (outcome.result, outcome.missing) == (Result.REFUSED, True)
        assert "nowhere" in outcome.reason

    async def test_going_to_one_takes_over_from_a_movement(
        self, adapter: OnvifAdapter, camera: OnvifCamera
    ) -> None:
        await done(adapter, SetPreset(address="source_1", name="home"))
        moving = asyncio.create_task(
            adapter.execute(MovePtz(address="source_1", pan=1.0, duration_ms=300))
        )
        await wait_until(lambda: camera.ptz_heads[1].moving)
        await done(adapter, GoToPreset(address="source_1", name="home"))
        await moving
        assert camera.ptz_heads[1].stops == 0  # it would have stopped on its way home


@pytest.mark.parametrize(
    "command",
    [
        ShiftPtz(address="source_1", pan=1.5),
        PlacePtz(address="source_1", pan=0.5),
        PlacePtz(address="source_1", zoom=-0.5),
        PlacePtz(address="source_1", pan=float("nan"), tilt=0.0),
        SetPreset(address="source_9", name="x"),
    ],
)
async def test_what_cannot_be_is_refused(
    adapter: OnvifAdapter, camera: OnvifCamera, command: Command
) -> None:
    outcome = await adapter.execute(command)
    assert outcome.result is Result.REFUSED
    assert outcome.reason
    assert camera.ptz_heads[1].moves == 0


async def test_the_clock_is_set_on_request_and_what_runs_goes_on(
    camera: OnvifCamera, make_adapter: MakeAdapter
) -> None:
    camera.quirks = Quirks(clock_offset_s=-7_200, created_window_s=5, authentication="token")
    adapter = make_adapter(camera.device_url, check_interval_s=0.05)
    task = asyncio.create_task(adapter.run(lambda _event: None))
    await wait_until(lambda: camera.actions["PullMessages"] >= 2)
    await done(adapter, SetClock(address=""))
    assert camera.quirks.clock_offset_s == pytest.approx(0, abs=1.5)
    looks = camera.actions["GetDeviceInformation"]
    await wait_until(lambda: camera.actions["GetDeviceInformation"] > looks, timeout_s=10)
    assert not task.done()
    assert camera.refused == 0
    task.cancel()
    await asyncio.wait([task])


def told(inside: str) -> ptz_wire.Status:
    answer = (
        f'<s:Envelope xmlns:s="{soap.SOAP_12}"><s:Body><GetStatusResponse>{inside}'
        "</GetStatusResponse></s:Body></s:Envelope>"
    )
    return soap.decode(ptz_wire.get_status("p"), 200, answer.encode())


class TestStatus:
    def test_of_a_camera_without_zoom_that_says_nothing_of_moving(self) -> None:
        status = told(
            '<PTZStatus><Position><PanTilt x="0.25" y="-1" space="s"/></Position></PTZStatus>'
        )
        place = Place(pan=0.25, tilt=-1.0, zoom=None, spaces=("s", ""))
        assert status == ptz_wire.Status(place=place, moving=False)

    @pytest.mark.parametrize(
        "inside",
        [
            "",
            "<PTZStatus/>",
            "<PTZStatus><Position/></PTZStatus>",
            '<PTZStatus><Position><PanTilt x="0"/></Position></PTZStatus>',
            '<PTZStatus><Position><PanTilt x="nan" y="0"/></Position></PTZStatus>',
            '<PTZStatus><Position><PanTilt x="a" y="0"/></Position></PTZStatus>',
            '<PTZStatus><Position><PanTilt x="0" y="0"/><Zoom/></Position></PTZStatus>',
        ],
    )
    def test_that_is_not_whole_tells_no_place(self, inside: str) -> None:
        assert told(inside).place is None

    def test_places_are_the_same_but_for_what_a_head_does_not_repeat(self) -> None:
        def place(pan: float = 0.0, zoom: float | None = 0.0, space: str = "") -> Place:
            return Place(pan=pan, tilt=0.0, zoom=zoom, spaces=(space, ""))

        assert place().is_at(place(0.0009, 0.004))
        assert not place().is_at(place(0.0011))
        assert not place().is_at(place(zoom=0.006))
        assert not place().is_at(place(zoom=None))
        assert not place().is_at(place(space="degrees"))
