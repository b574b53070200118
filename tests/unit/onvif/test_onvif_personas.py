"""The adapter against every persona of the simulated cameras: each is met, or told in words.

The threads named are users' complaints about other clients, as facts of the field.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from patience import wait_until

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import Event, RtspSource
from adapters.onvif.adapter import OnvifAdapter
from simulators.onvif_camera import PERSONAS, OnvifCamera, Quirks

MakeAdapter = Callable[..., OnvifAdapter]
Meet = Callable[..., Awaitable[OnvifCamera]]

MET = (
    "clock-off", "digest-only", "digest-sha256", "digest-rfc2069", "token-only", "wrong-xaddr",
    "loopback-xaddr", "no-media2", "no-get-services", "foreign-namespaces", "h265", "nvr16",
    "slow", "snapshot-401", "locks-after-three", "tls",
    "pullpoint-none", "pullpoint-two-slots", "pullpoint-expires", "pullpoint-no-renew",
    "pullpoint-short-polls", "pullpoint-at-once", "pullpoint-foreign-topics",
)  # fmt: skip
REFUSED: dict[str, type[AdapterError]] = {
    "basic-only": AuthenticationFailed,
    "half-open": TimedOut,
    "garbage": ProtocolViolation,
    "silent": TimedOut,
    "sudden-reboot": Unreachable,
}


def test_no_persona_is_left_out() -> None:
    assert {*MET, *REFUSED} == PERSONAS.keys()


@pytest.mark.parametrize("persona", MET)
async def test_is_met_without_a_wrong_password(
    persona: str, meet: Meet, make_adapter: MakeAdapter
) -> None:
    camera = await meet(persona)
    found = await make_adapter(camera.device_url).probe()
    assert len(found.sources) == camera.spec.sources
    assert found.identity.serial == "SN-odd"
    assert {each.name for source in found.sources for each in source.profiles} == {"main", "sub"}
    assert (camera.wrong_passwords, camera.refused, camera.signed_twice) == (0, 0, 0)


@pytest.mark.parametrize(("persona", "error"), REFUSED.items())
async def test_that_cannot_be_met_is_told_in_words_and_met_once_it_can(
    persona: str, error: type[AdapterError], meet: Meet, make_adapter: MakeAdapter
) -> None:
    camera = await meet(persona)
    with pytest.raises(error) as raised:
        await make_adapter(camera.device_url, timeout_s=0.3).probe()
    assert raised.value.device == camera.device_url
    assert camera.wrong_passwords == 0
    camera.quirks = Quirks()
    await camera.power(True)
    assert (await make_adapter(camera.device_url).probe()).sources


class TestWaysIn:
    """Digest and token, each alone (home-assistant/core#119107, agsh/onvif#294)."""

    @pytest.mark.parametrize("personas", [("token-only", "clock-off"), ("digest-only",)])
    async def test_a_wrong_password_is_said_twice_at_most(
        self, personas: tuple[str, ...], meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet(*personas, "locks-after-three")
        adapter = make_adapter(camera.device_url, password="planted-wrong")
        with pytest.raises(AuthenticationFailed, match="refused"):
            await adapter.probe()
        wrong = camera.wrong_passwords
        assert 1 <= wrong <= 2
        for _ in range(3):
            with pytest.raises(AuthenticationFailed):
                await adapter.probe()
        assert camera.wrong_passwords <= 2
        assert camera.signed_twice == 0
        # The account is not locked: whoever knows the password gets in.
        assert (await make_adapter(camera.device_url).probe()).sources

    async def test_of_a_device_that_takes_both_the_password_is_said_twice_at_most(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("locks-after-three")
        with pytest.raises(AuthenticationFailed):
            await make_adapter(camera.device_url, password="planted-wrong").probe()
        assert (camera.wrong_passwords, camera.signed_twice) == (2, 0)

    async def test_a_locked_account_is_explained_and_left_alone(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("locks-after-three", "digest-only")
        for _ in range(3):
            with pytest.raises(AuthenticationFailed):
                await make_adapter(camera.device_url, password="planted-wrong").probe()
        wrong = camera.wrong_passwords
        with pytest.raises(AuthenticationFailed, match=r"locked this account.*unlock it"):
            await make_adapter(camera.device_url).probe()
        assert camera.wrong_passwords == wrong
        await camera.power(False)
        await camera.power(True)
        assert (await make_adapter(camera.device_url).probe()).sources

    @pytest.mark.parametrize("persona", ["token-only", "digest-only"])
    async def test_what_the_account_may_not_do_costs_it_nothing_else(
        self, persona: str, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet(persona)
        camera.quirks = dataclasses.replace(camera.quirks, forbidden=("GetStreamUri",))
        adapter = make_adapter(camera.device_url)
        for _ in range(4):
            with pytest.raises(AuthenticationFailed, match="GetStreamUri"):
                await adapter.open_media("source_1", "main")
        assert (await adapter.probe()).sources
        assert camera.wrong_passwords == 0

    async def test_a_changed_password_is_noticed_and_said_twice_at_most(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("token-only", "locks-after-three")
        adapter = make_adapter(camera.device_url)
        await adapter.probe()
        camera._guard = type(camera._guard)("admin", "another")
        for _ in range(4):
            with pytest.raises(AuthenticationFailed):
                await adapter.open_media("source_1", "main")
        assert camera.wrong_passwords == 2

    async def test_a_nonce_that_ran_out_unsaid_costs_no_sign_in(
        self, camera: OnvifCamera, adapter: OnvifAdapter
    ) -> None:
        await adapter.probe()
        camera._guard = type(camera._guard)("admin", camera.spec.password)  # forgets its nonces
        await adapter.probe()

    async def test_basic_goes_over_tls_or_where_it_was_allowed(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("basic-only")
        with pytest.raises(AuthenticationFailed, match=r"in clear only \(Basic\)"):
            await make_adapter(camera.device_url).probe()
        assert camera.refused == 0
        allowed = make_adapter(camera.device_url, allow_basic=True)
        assert (await allowed.probe()).sources
        encrypted = await meet("basic-only", "tls")
        assert (await make_adapter(encrypted.device_url).probe()).sources

    async def test_a_device_that_asks_nobody_gets_no_password(
        self, camera: OnvifCamera, make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        headers: list[str] = []

        def open_door(http: object, request: object) -> None:
            headers.extend(http.headers)  # type: ignore[attr-defined]
            assert request.token is None  # type: ignore[attr-defined]

        monkeypatch.setattr(camera, "_refusal", open_door)
        assert (await make_adapter(camera.device_url).probe()).sources
        assert headers
        assert "authorization" not in headers


class TestAddresses:
    """python-onvif-zeep#61, onvif-zeep-async#82, Xiaomi-Dafang-Hacks#1752."""

    async def test_are_rewritten_and_the_inventory_says_so(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("wrong-xaddr")
        adapter = make_adapter(camera.device_url)
        found = await adapter.probe()
        services, stream, picture = found.notes
        assert services == (
            "it announces http://192.168.1.108:8899, which is not how it is reached: "
            f"http://127.0.0.1:{camera.onvif_port} is used instead"
        )
        assert stream.startswith("stream profile_1_main: it announces rtsp://192.168.1.108:")
        assert picture.startswith("picture profile_1_main: it announces http://192.168.1.108:")
        source = await adapter.open_media("source_1", "main")
        assert isinstance(source, RtspSource)
        assert source.url == camera.rtsp_url("main")
        assert (await adapter.snapshot("source_1")).data.startswith(b"\xff\xd8")

    async def test_of_a_polite_camera_need_no_note(self, adapter: OnvifAdapter) -> None:
        assert (await adapter.probe()).notes == ()

    async def test_of_others_get_no_request_and_no_password(
        self, camera: OnvifCamera, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        other = await meet()
        host = f"{other.host}:{other.onvif_port}"
        camera.quirks = dataclasses.replace(camera.quirks, announced_host=host)
        adapter = make_adapter(camera.device_url)
        await adapter.probe()
        await adapter.snapshot("source_1")
        assert other.requests == 0

    async def test_of_streams_get_the_port_that_a_nat_forwards(
        self, camera: OnvifCamera, make_adapter: MakeAdapter
    ) -> None:
        adapter = make_adapter(camera.device_url, rtsp_port=10_554)
        source = await adapter.open_media("source_1", "main")
        assert isinstance(source, RtspSource)
        assert urlsplit(source.url).port == 10_554


class TestProfiles:
    """python-onvif-zeep#21, agsh/onvif#187: H.265 shows in Media2 alone."""

    async def test_of_h265_are_found_and_streamed(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("h265")
        adapter = make_adapter(camera.device_url)
        profiles = (await adapter.probe()).sources[0].profiles
        assert [(each.name, each.codec) for each in profiles] == [("main", "h265"), ("sub", "h265")]
        source = await adapter.open_media("source_1", "main")
        assert isinstance(source, RtspSource)
        assert source.url == camera.rtsp_url("main")

    async def test_come_from_the_first_media_service_where_there_is_no_second(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("no-media2", "no-get-services")
        adapter = make_adapter(camera.device_url)
        first = await adapter.probe()
        camera.quirks = Quirks()
        assert (await make_adapter(camera.device_url).probe()).sources == first.sources

    async def test_come_from_the_first_where_the_second_fails(
        self, camera: OnvifCamera, adapter: OnvifAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Announced, but not there: as some firmware has it after a downgrade."""
        announced = camera._handle

        def absent(request: object) -> object:
            if request.path.endswith("media2_service"):  # type: ignore[attr-defined]
                camera.quirks = Quirks(media2=False)
            return announced(request)  # type: ignore[arg-type]

        monkeypatch.setattr(camera, "_handle", absent)
        assert len((await adapter.probe()).sources) == 2
        assert isinstance(await adapter.open_media("source_2", "sub"), RtspSource)

    async def test_of_a_recorder_belong_to_its_sixteen_sources(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("nvr16")
        adapter = make_adapter(camera.device_url)
        found = await adapter.probe()
        assert [each.channel_number for each in found.sources] == list(range(1, 17))
        assert (await adapter.probe()).sources == found.sources
        last = await adapter.open_media("source_16", "sub")
        assert isinstance(last, RtspSource)
        assert last.url == camera.rtsp_url("sub", 16)


async def test_a_snapshot_that_is_refused_whatever_is_said_is_told(
    meet: Meet, make_adapter: MakeAdapter
) -> None:
    """agsh/onvif#190, node-onvif#14."""
    camera = await meet("snapshot-401")
    with pytest.raises((AuthenticationFailed, NotSupported, ProtocolViolation)):
        await make_adapter(camera.device_url).snapshot("source_1")
    assert camera.wrong_passwords == 0


@pytest.mark.parametrize("persona", [name for name in MET if name.startswith("pullpoint")])
async def test_a_device_short_of_pullpoints_loses_no_slot(
    persona: str, meet: Meet, make_adapter: MakeAdapter
) -> None:
    """core#90916, onvif_simple_server#50: one at a time, and given back at the end."""
    camera = await meet(persona)
    told: list[Event] = []
    running = asyncio.create_task(make_adapter(camera.device_url).run(told.append))
    try:
        wanted = int(camera.quirks.events)
        polls = camera.actions
        await wait_until(lambda: told and (polls["PullMessages"] or not wanted), timeout_s=15)
        assert camera.subscriptions == wanted
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert (camera.subscriptions, camera.events.created) == (0, wanted)


async def test_a_slow_device_times_out_where_it_may_not_be_slow(
    meet: Meet, make_adapter: MakeAdapter
) -> None:
    camera = await meet("slow")
    with pytest.raises(TimedOut, match=r"within 0.1 s"):
        await make_adapter(camera.device_url, timeout_s=0.1).probe()


async def test_a_sudden_reboot_is_unreachable_then_met_again(
    meet: Meet, make_adapter: MakeAdapter
) -> None:
    camera = await meet("sudden-reboot")
    adapter = make_adapter(camera.device_url)
    with pytest.raises(Unreachable) as raised:
        await adapter.probe()
    assert raised.value.retryable
    await wait_until(lambda: camera.powered)
    assert (await adapter.probe()).sources


class TestCertificates:
    async def test_of_its_own_is_pinned_at_first_sight_and_kept(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("tls")
        found = await make_adapter(camera.device_url).probe()
        assert found.settings == {"certificate_sha256": camera.fingerprint}
        shown = ":".join(camera.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
        assert found.notes == (f"its self-signed certificate is pinned: SHA-256 {shown}",)
        pinned = make_adapter(camera.device_url, **found.settings)
        again = await pinned.probe()
        assert (again.sources, again.settings, again.notes) == (found.sources, {}, found.notes)

    async def test_that_changed_is_refused_before_anything_is_said(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("tls")
        found = await make_adapter(camera.device_url).probe()
        camera.renew_certificate()
        requests = camera.requests
        with pytest.raises(InvalidSettings, match=r"another one now.*certificate_sha256"):
            await make_adapter(camera.device_url, **found.settings).probe()
        assert camera.requests == requests

    async def test_that_nobody_gave_is_refused_with_its_fingerprint(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("tls")
        with pytest.raises(InvalidSettings) as raised:
            await make_adapter(camera.device_url, trust="given").probe()
        said = raised.value.message.replace(":", "").lower()
        assert camera.fingerprint in said
        given = make_adapter(
            camera.device_url, trust="given", certificate_sha256=camera.fingerprint.upper()
        )
        assert (await given.probe()).sources
        assert camera.wrong_passwords == 0

    async def test_is_never_pinned_by_a_device_that_just_runs(
        self, meet: Meet, make_adapter: MakeAdapter
    ) -> None:
        camera = await meet("tls")
        with pytest.raises(InvalidSettings, match="no authority vouches"):
            await make_adapter(camera.device_url).run(lambda _event: None)
        assert camera.requests == 0
