"""Personas by name: on the command line, in a scenario file; and a thousand cameras at once."""

import asyncio
import ssl
from urllib.parse import urlsplit

import pytest
from video_peers import onvif_fleet, onvif_spec

from simulators.__main__ import _parser, _wanted
from simulators.onvif_camera import PERSONAS, with_persona
from simulators.scenario import BadScenario, parse


def test_a_camera_may_be_several_at_once() -> None:
    spec = with_persona(onvif_spec(), "nvr16", "digest-only", "clock-off")
    assert (spec.sources, spec.quirks.authentication) == (16, "digest")
    assert spec.quirks.clock_offset_s == -18_000
    with pytest.raises(KeyError):
        with_persona(spec, "polite")


@pytest.mark.parametrize("name", PERSONAS)
def test_a_file_names_every_persona(name: str) -> None:
    text = f"cameras: {{onvif: [{{name: a, username: u, password: p, persona: {name}}}]}}"
    (camera,) = parse(text).cameras.onvif
    plain = onvif_spec("a", username="u", password="p")
    wanted = with_persona(plain, name)
    assert (camera.quirks, camera.sources, camera.tls, camera.codec) == (
        wanted.quirks, wanted.sources, wanted.tls, wanted.codec,
    )  # fmt: skip


def test_what_a_file_says_itself_counts_beside_a_persona() -> None:
    text = """
cameras:
  onvif:
    - name: a
      username: u
      password: p
      persona: [nvr16, slow, digest-only]
      sources: 4
      quirks: {delay_ms: 10, clock_offset_s: 3}
"""
    (camera,) = parse(text).cameras.onvif
    assert (camera.sources, camera.quirks.delay_ms, camera.quirks.clock_offset_s) == (4, 10, 3)
    assert camera.quirks.authentication == "digest"


@pytest.mark.parametrize("named", ["polite", "[tls, polite]", "3", "{a: b}"])
def test_an_unknown_persona_is_told_with_its_place(named: str) -> None:
    text = f"cameras:\n  onvif:\n    - {{name: a, username: u, password: p, persona: {named}}}\n"
    with pytest.raises(BadScenario, match=r"file:3:\d+: .*persona"):
        parse(text, "file")


def test_the_command_line_names_them_for_all_its_cameras() -> None:
    arguments = ["cameras", "--count", "2", "--persona", "tls", "--persona", "token-only"]
    wanted = _wanted(_parser().parse_args(arguments)).cameras.onvif
    assert [(each.tls, each.quirks.authentication) for each in wanted] == [(True, "token")] * 2


async def test_a_certificate_is_the_camera_s_own_until_it_is_renewed() -> None:
    async with onvif_fleet([with_persona(onvif_spec(), "tls")]) as fleet:
        camera = fleet.cameras["gate"]
        assert camera.device_url.startswith("https://")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        async def shown() -> bytes:
            where = urlsplit(camera.device_url)
            _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
            certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
            writer.close()
            await writer.wait_closed()
            return certificate

        first, fingerprint = await shown(), camera.fingerprint
        assert await shown() == first
        camera.renew_certificate()
        assert await shown() != first
        assert camera.fingerprint != fingerprint


async def test_a_thousand_answer_in_one_process() -> None:
    specs = [onvif_spec(f"camera-{number}", username="admin") for number in range(1_000)]
    async with onvif_fleet(specs) as fleet:
        answered = 0

        async def ask(host: str, port: int) -> None:
            nonlocal answered
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /onvif/device_service HTTP/1.1\r\nHost: x\r\n\r\n")
            answered += (await reader.readline()).startswith(b"HTTP/1.1 405")
            writer.close()

        for each in fleet.cameras.values():
            await ask(each.host, each.onvif_port)
        assert answered == 1_000
        assert len({each.onvif_port for each in fleet.cameras.values()}) == 1_000
