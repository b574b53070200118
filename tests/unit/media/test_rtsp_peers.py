"""The reader against simulated cameras with every peculiarity that cameras are known for."""

import asyncio
import contextlib
import dataclasses
import datetime
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scripted_camera import Asked, camera, until

from adapters.base import AccessUnit, MediaItem, TrackFormat
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    Busy,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import RtspSource, Secret
from adapters.footprint import Footprint
from adapters.media import RtspLimits
from adapters.media.nal import split_with_lengths
from adapters.media.reading import RtspStream, open_rtsp
from simulators.rtsp_camera import RtspCamera, RtspCameraSpec, RtspFleet, RtspQuirks
from simulators.rtsp_camera.spec import TlsFiles

PASSWORD = "planted-password"
QUICK = RtspLimits(connect_s=2.0, request_s=1.0, silence_s=1.0, farewell_s=0.3)


@pytest.fixture(scope="module")
def clip_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate as cameras make their own: it names nobody and has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    made = datetime.datetime(2015, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(made)
        .not_valid_after(made + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    files = TlsFiles(certificate=folder / "camera.pem", key=folder / "camera.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def fingerprint(files: TlsFiles) -> str:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()


def spec(name: str = "gate", **fields: object) -> RtspCameraSpec:
    given = {
        "username": "viewer",
        "password": PASSWORD,
        "main_size": (160, 128),
        "sub_size": (160, 128),
        "variant": 0,
        "fps": 50,
        "gop_s": 0.2,
        **fields,
    }
    return RtspCameraSpec(name=name, **given)  # type: ignore[arg-type]


@pytest.fixture
async def running(clip_cache: Path) -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


async def start(
    stack: contextlib.AsyncExitStack, clip_cache: Path, *specs: RtspCameraSpec
) -> RtspCamera:
    fleet = await stack.enter_async_context(RtspFleet(specs, clip_cache=clip_cache))
    return fleet.cameras[specs[0].name]


def at(it: RtspCamera, **fields: object) -> RtspSource:
    given = {"url": it.url(), "username": "viewer", "password": Secret(PASSWORD), **fields}
    return RtspSource(**given)  # type: ignore[arg-type]


async def take(stream: RtspStream, count: int) -> list[MediaItem]:
    items: list[MediaItem] = []
    async with asyncio.timeout(10):
        async for item in stream:
            items.append(item)
            if len(items) == count:
                return items
    raise AssertionError("the stream ended by itself")


def pictures_of(it: RtspCamera) -> dict[tuple[bytes, ...], int]:
    """The coded pictures that the camera has, by their NAL units."""
    return {unit: index for index, unit in enumerate(it.stream().clip.frames)}


def shown(it: RtspCamera, items: list[MediaItem]) -> list[int]:
    """Which pictures of the clip came, bit by bit what the camera had; SEI left out."""
    known = pictures_of(it)
    sei = 39 if it.spec.codec == "h265" else 6
    numbers = []
    for item in items:
        if isinstance(item, AccessUnit) and item.track == 0:
            nals = split_with_lengths(item.data)
            kinds = [n[0] >> 1 & 63 if it.spec.codec == "h265" else n[0] & 31 for n in nals]
            picture = tuple(n for n, kind in zip(nals, kinds, strict=True) if kind != sei)
            numbers.append(known[picture])
    return numbers


PECULIAR = {
    "basic": (RtspQuirks(authentication="basic"), {"allow_basic": True}),
    "digest and basic": (RtspQuirks(authentication="both"), {}),
    "digest and basic in one header": (RtspQuirks(authentication="both", one_header=True), {}),
    "digest with qop": (RtspQuirks(digest="md5"), {}),
    "sha-256": (RtspQuirks(digest="sha-256"), {}),
    "md5 and sha-256": (RtspQuirks(digest="md5+sha-256"), {}),
    "md5 and sha-256 in one header": (RtspQuirks(digest="md5+sha-256", one_header=True), {}),
    "a nonce for one answer": (RtspQuirks(nonce_uses=1), {}),
    "absolute controls": (RtspQuirks(controls="absolute"), {}),
    "no base": (RtspQuirks(controls="bare"), {}),
    "no aggregate control": (RtspQuirks(aggregate=False), {}),
    "channels of its own choice": (RtspQuirks(shift=6), {}),
    "stray bytes": (RtspQuirks(junk_between=True), {}),
    "extensions and padding": (RtspQuirks(extensions=True), {}),
    "sets in the SDP alone": (RtspQuirks(sets="sdp"), {}),
    "sets in band alone": (RtspQuirks(sets="band"), {}),
    "numbers run over": (RtspQuirks(wraps=True), {}),
    "udp": (RtspQuirks(), {"transport": "udp"}),
    "udp with header extensions": (RtspQuirks(extensions=True), {"transport": "udp"}),
    "udp in the wrong order": (RtspQuirks(swap=True), {"transport": "udp"}),
    "udp from unknown ports": (RtspQuirks(coy=True), {"transport": "udp"}),
    "udp from other ports": (RtspQuirks(strays=True), {"transport": "udp"}),
    "udp where tcp was asked": (RtspQuirks(transports="udp"), {}),
    "tcp where udp was asked": (RtspQuirks(transports="tcp"), {"transport": "udp"}),
}


OF_ANY_CODEC = ("stray", "extensions", "sets", "numbers", "udp")


async def test_what_peculiar_cameras_show_is_read_bit_by_bit(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    specs = {
        f"{name}, {codec}": spec(f"{name}, {codec}", codec=codec, quirks=quirks)
        for name, (quirks, _) in PECULIAR.items()
        for codec in ("h264", "h265")
        if codec == "h264" or name.startswith(OF_ANY_CODEC)
    }
    fleet = await running.enter_async_context(
        RtspFleet(list(specs.values()), clip_cache=clip_cache)
    )

    async def look(name: str, it: RtspCamera) -> None:
        try:
            await _read_bit_by_bit(it, PECULIAR[name.partition(", h26")[0]][1])
        except Exception as error:
            error.add_note(f"the camera was: {name}")
            raise

    async with asyncio.TaskGroup() as tasks:
        for name, it in fleet.cameras.items():
            tasks.create_task(look(name, it))
    await until(lambda: not any(it.sessions for it in fleet.cameras.values()))


async def _read_bit_by_bit(it: RtspCamera, asked: dict[str, object]) -> None:
    async with open_rtsp(at(it, **asked)) as stream:
        items = await take(stream, 14)
        assert (stream.reader, stream.reason) == ("native", "")
        assert (stream.counters.lost, stream.counters.bad) == (0, 0)
    assert isinstance(items[0], TrackFormat)
    assert (items[0].width, items[0].height) == it.spec.main_size
    numbers = shown(it, items)
    steps = [(b - a) % len(it.stream().clip.frames) for a, b in itertools.pairwise(numbers)]
    # A busy machine makes the camera leave out pictures, which is nothing that the reader lost.
    assert set(steps) == {1} or it.pacer.frames_skipped
    times = [item.pts_us for item in items if isinstance(item, AccessUnit)]
    periods_us = [b - a for a, b in itertools.pairwise(times)]
    assert periods_us == pytest.approx([step * 1e6 / it.spec.fps for step in steps], abs=20)
    assert it.refused == 0


async def test_a_password_that_is_wrong_is_said_at_most_twice(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    for quirks, tries in [
        (RtspQuirks(), 1),
        (RtspQuirks(authentication="both"), 1),
        (RtspQuirks(digest="md5+sha-256"), 2),
    ]:
        it = await start(running, clip_cache, spec(quirks=quirks))
        for transport in ("tcp", "udp"):
            it.refused = 0
            with pytest.raises(AuthenticationFailed) as raised:
                async with open_rtsp(at(it, password=Secret("wrong"), transport=transport)):
                    pass
            assert it.refused == tries
            assert "wrong" not in str(raised.value).replace("wrong password", "")


async def test_losses_cost_pictures_and_never_show_a_broken_one(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    big = {"main_size": (320, 240), "sub_size": (320, 240)}
    it = await start(running, clip_cache, spec(quirks=RtspQuirks(loss=0.03), **big))
    async with open_rtsp(at(it, transport="udp"), QUICK) as stream:
        items = await take(stream, 60)
        assert stream.counters.lost > 0
    numbers = shown(it, items)  # raises for a picture that the camera never had
    units = [item for item in items if isinstance(item, AccessUnit)]
    for (before, after), unit in zip(itertools.pairwise(numbers), units[1:], strict=True):
        if after != (before + 1) % len(it.stream().clip.frames):
            assert unit.keyframe
            assert unit.discontinuity


# --- TLS --------------------------------------------------------------------------------------


async def test_a_pinned_certificate(
    running: contextlib.AsyncExitStack, clip_cache: Path, tls: TlsFiles
) -> None:
    it = await start(running, clip_cache, spec(tls=tls, quirks=RtspQuirks(authentication="basic")))
    assert it.url().startswith("rtsps://")
    colons = ":".join(fingerprint(tls)[n : n + 2] for n in range(0, 64, 2)).upper()
    for transport in ("tcp", "udp"):
        pinned = at(it, certificate_sha256=colons, transport=transport)
        async with open_rtsp(pinned, QUICK) as stream:
            assert stream.transport == "tcp"  # UDP would not be encrypted
            assert shown(it, await take(stream, 5))


async def test_certificates_that_are_not_trusted(
    running: contextlib.AsyncExitStack, clip_cache: Path, tls: TlsFiles
) -> None:
    it = await start(running, clip_cache, spec(tls=tls))
    for pin in ("", "00" * 32):
        with pytest.raises(InvalidSettings, match=fingerprint(tls)):
            async with open_rtsp(at(it, certificate_sha256=pin), QUICK):
                pass
    with pytest.raises(InvalidSettings, match="64"):
        async with open_rtsp(at(it, certificate_sha256="beef"), QUICK):
            pass
    assert it.requests == 0


async def test_a_camera_without_tls_is_no_secret(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    it = await start(running, clip_cache, spec())
    limits = dataclasses.replace(QUICK, connect_s=0.3)
    with pytest.raises((Unreachable, TimedOut)):
        async with open_rtsp(at(it, url=it.url().replace("rtsp:", "rtsps:")), limits):
            pass


# --- redirects --------------------------------------------------------------------------------


async def test_a_password_stays_on_its_host(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    target = await start(running, clip_cache, spec("target", host="127.0.0.2"))
    moved = RtspQuirks(redirect=target.url())
    foreign = await start(running, clip_cache, spec("foreign", host="127.0.0.3", quirks=moved))
    same = await start(running, clip_cache, spec("same", host="127.0.0.2", quirks=moved))
    async with open_rtsp(at(same), QUICK) as stream:
        assert shown(target, await take(stream, 3))
    asked = target.requests
    with pytest.raises(AuthenticationFailed, match="our password is not for it"):
        async with open_rtsp(at(foreign), QUICK):
            pass
    assert target.requests > asked
    assert target.refused == 0


async def test_a_redirect_elsewhere_carries_no_secret() -> None:
    async with camera() as target:

        def script(asked: Asked) -> bytes | None:
            if asked.method != "DESCRIBE":
                return None
            if "authorization" not in asked.headers:
                lines = ['WWW-Authenticate: Digest realm="r", nonce="n"']
                return asked.answer("401 Unauthorized", lines)
            url = target.url.replace("127.0.0.1", "localhost")
            return asked.answer("302 Moved", [f"Location: {url}"])

        async with camera(script) as it:
            source = RtspSource(url=it.url, username="u", password=Secret("p"))
            async with open_rtsp(source, QUICK):
                pass
            assert "authorization" in it.asked[-1].headers
    assert "SETUP" in target.methods()
    assert not any("authorization" in asked.headers for asked in target.asked)


async def test_a_camera_known_by_name_may_call_itself_by_its_address() -> None:
    def script(asked: Asked) -> bytes | None:
        if asked.method == "DESCRIBE" and "authorization" not in asked.headers:
            lines = ['WWW-Authenticate: Digest realm="r", nonce="n"']
            return asked.answer("401 Unauthorized", lines)
        if asked.method == "DESCRIBE" and not asked.url.endswith("/moved"):
            return asked.answer("302 Moved", [f"Location: rtsp://127.0.0.1:{it.port}/moved"])
        return None

    async with camera(script) as it:
        url = it.url.replace("127.0.0.1", "localhost")
        source = RtspSource(url=url, username="u", password=Secret("p"))
        async with open_rtsp(source, QUICK):
            pass
        assert it.asked[-1].url == f"rtsp://127.0.0.1:{it.port}/moved"


async def test_redirects_in_a_circle_end(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    it = await start(running, clip_cache, spec())
    it.quirks = dataclasses.replace(it.quirks, redirect=it.url())
    with pytest.raises(ProtocolViolation, match="302"):
        async with open_rtsp(at(it), QUICK):
            pass


# --- sessions ---------------------------------------------------------------------------------


async def test_sessions_outlive_their_timeout(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    peculiar = {
        "get_parameter": RtspQuirks(),
        "options": RtspQuirks(keep_alive="options"),
        "broken": RtspQuirks(keep_alive="broken"),
        "nonces": RtspQuirks(nonce_uses=1),
    }
    specs = [spec(name, session_timeout_s=1.0, quirks=quirks) for name, quirks in peculiar.items()]
    fleet = await running.enter_async_context(RtspFleet(specs, clip_cache=clip_cache))

    async def watch(it: RtspCamera, transport: str) -> None:
        async with open_rtsp(at(it, transport=transport)) as stream:
            items = await take(stream, 126)  # 2.5 s
        assert len(shown(it, items)) == 125

    async with asyncio.TaskGroup() as tasks:
        for it in fleet.cameras.values():
            for transport in ("tcp", "udp"):
                tasks.create_task(watch(it, transport))
    assert all(it.signs_of_life >= 4 for it in fleet.cameras.values())


async def test_a_session_that_the_camera_forgot_is_over(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    quirks = RtspQuirks(forgets=True)
    it = await start(running, clip_cache, spec(session_timeout_s=1.0, quirks=quirks))
    async with open_rtsp(at(it)) as stream:
        with pytest.raises(Unreachable, match="454"):
            await take(stream, 100)


@pytest.mark.parametrize(
    ("method", "status", "error", "says"),
    [
        ("SETUP", 461, NotSupported, "neither over TCP nor over UDP"),
        ("SETUP", 503, Busy, "no session left"),
        ("PLAY", 454, Unreachable, "ended the session"),
        ("PLAY", 457, ProtocolViolation, "457"),
        ("DESCRIBE", 404, ProtocolViolation, "no stream at this path"),
        ("DESCRIBE", 403, AuthenticationFailed, "may not see"),
        ("DESCRIBE", 503, Busy, "overloaded"),
    ],
)
async def test_refusals_say_what_they_mean(
    running: contextlib.AsyncExitStack,
    clip_cache: Path,
    method: str,
    status: int,
    error: type[AdapterError],
    says: str,
) -> None:
    before = Footprint.now()
    async with contextlib.AsyncExitStack() as stack:
        quirks = RtspQuirks(refuse=((method, status),))
        it = await start(stack, clip_cache, spec(quirks=quirks))
        for transport in ("tcp", "udp"):
            with pytest.raises(error, match=says):
                async with open_rtsp(at(it, transport=transport), QUICK):
                    pass
        await until(lambda: not it.sessions)
    await until(lambda: not Footprint.now().beyond(before))


async def test_a_camera_that_falls_silent_though_it_answers(
    running: contextlib.AsyncExitStack, clip_cache: Path
) -> None:
    for transport in ("tcp", "udp"):
        limits = dataclasses.replace(QUICK, silence_s=0.4)
        it = await start(running, clip_cache, spec(session_timeout_s=1.0))
        async with open_rtsp(at(it, transport=transport), limits) as stream:
            await take(stream, 3)
            it.pause(next(iter(it._sessions)))
            with pytest.raises(TimedOut, match="nothing came"):
                await take(stream, 100)
        await until(lambda it=it: not it.sessions)  # TEARDOWN was said


# --- another reader of the same camera -----------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "audio", "transport"),
    [("h264", "aac", "tcp"), ("h265", "pcma", "udp"), ("h264", "pcmu", "tcp")],
)
async def test_ffprobe_reads_the_simulated_camera_too(
    running: contextlib.AsyncExitStack, clip_cache: Path, codec: str, audio: str, transport: str
) -> None:
    quirks = RtspQuirks(digest="md5", extensions=transport == "tcp")
    it = await start(running, clip_cache, spec(codec=codec, audio=audio, quirks=quirks))
    url = it.url().replace("://", f"://viewer:{PASSWORD}@")
    fields = "stream=codec_name,width,height,sample_rate,nb_read_packets"
    command = ["-v", "error", "-rtsp_transport", transport, "-read_intervals", "%+0.5"]
    command += ["-count_packets", "-show_entries", fields, "-of", "json", url]
    child = await asyncio.create_subprocess_exec(
        "ffprobe", *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        told, complaints = await child.communicate()
    video, sound = json.loads(told)["streams"]
    assert (video["codec_name"], video["width"]) == ("hevc" if codec == "h265" else codec, 160)
    assert sound["codec_name"] == {"pcma": "pcm_alaw", "pcmu": "pcm_mulaw", "aac": "aac"}[audio]
    assert int(video["nb_read_packets"]) >= 10
    assert int(sound["nb_read_packets"]) >= 4
    assert not complaints.decode()
