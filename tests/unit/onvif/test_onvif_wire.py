"""What ONVIF messages come to, and that no document breaks the reader."""

import base64
import hashlib
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.errors import AdapterError, ProtocolViolation
from adapters.events import Identity, Secret
from adapters.onvif import soap, wire, ws_discovery
from adapters.onvif.wire import MediaProfile

REACHED = "http://10.1.1.9:8081/onvif/device_service"
READERS = (
    wire.GET_CLOCK,
    wire.GET_SERVICES,
    wire.GET_CAPABILITIES,
    wire.GET_IDENTITY,
    wire.GET_VIDEO_SOURCES,
    wire.GET_PROFILES,
    wire.GET_PROFILES_2,
    wire.GET_ENDPOINT_REFERENCE,
    wire.get_stream_uri("p", "tcp"),
    wire.get_snapshot_uri_2("p"),
)


def profile(token: str, **changes: object) -> MediaProfile:
    known: dict[str, object] = {
        "source": "VS1", "source_name": "", "codec": "h264", "width": 640, "height": 360,
        "fps": 15.0, "bit_rate_bps": 0, "ptz": False, "audio": False,
    }  # fmt: skip
    return MediaProfile(token=token, **(known | changes))  # type: ignore[arg-type]


class TestAddresses:
    @pytest.mark.parametrize(
        ("announced", "expected"),
        [
            ("http://192.168.1.64/onvif/Media", "http://10.1.1.9:8081/onvif/Media"),
            ("https://192.168.1.64:443/a?b=c#d", "http://10.1.1.9:8081/a?b=c"),
            ("http://127.0.0.1/onvif/Media", "http://10.1.1.9:8081/onvif/Media"),
            ("http://admin:pw@192.168.1.64/x", "http://10.1.1.9:8081/x"),
            ("/onvif/Media", "http://10.1.1.9:8081/onvif/Media"),
            ("rtsp://192.168.1.64:554/live?a=1&b=2", "rtsp://10.1.1.9:554/live?a=1&b=2"),
            ("rtsp://192.168.1.64/live", "rtsp://10.1.1.9/live"),
            ("rtsp://admin:pw@10.1.1.9:554/live", "rtsp://10.1.1.9:554/live"),
            ("rtsps://[fe80::1]:322/live", "rtsps://10.1.1.9:322/live"),
        ],
    )
    def test_are_brought_back_to_how_we_reached_the_device(
        self, announced: str, expected: str
    ) -> None:
        assert wire.reached_address(announced, REACHED) == expected

    def test_keep_an_ipv6_host_in_brackets(self) -> None:
        address = wire.reached_address("rtsp://x:554/live", "http://[fd00::9]/onvif/device_service")
        assert address == "rtsp://[fd00::9]:554/live"

    @pytest.mark.parametrize("junk", ["ftp://x/y", "nowhere", "rtsp:///x", "http://[::1", ""])
    def test_that_are_none_are_refused(self, junk: str) -> None:
        with pytest.raises(ProtocolViolation, match="no address"):
            wire.reached_address(junk, REACHED)

    @given(st.text(max_size=60), st.sampled_from(["", "http://", "rtsp://", "rtsp://a:b@"]))
    def test_of_any_text_lead_nowhere_else(self, text: str, scheme: str) -> None:
        try:
            address = wire.reached_address(scheme + text, REACHED)
        except ProtocolViolation:
            return
        assert address.partition("://")[2].startswith(("10.1.1.9:", "10.1.1.9/", "10.1.1.9"))
        assert "@" not in address.partition("://")[2].split("/")[0]


class TestRewriting:
    def test_is_told_once_for_each_address_that_is_not_how_we_got_there(self) -> None:
        announced = [
            "http://10.1.1.9:8081/onvif/Media", "http://192.168.1.64/a", "http://192.168.1.64:80/b",
            "http://admin:secret@127.0.0.1/c", "/relative", "rtsp://10.1.1.9/x",
        ]  # fmt: skip
        told = wire.rewritten(announced, REACHED)
        assert [sentence.split(",")[0] for sentence in told] == [
            "it announces http://127.0.0.1",
            "it announces http://192.168.1.64",
            "it announces rtsp://10.1.1.9",
        ]
        assert "secret" not in str(told)

    def test_has_nothing_to_tell_of_the_usual_ports(self) -> None:
        assert wire.rewritten(["http://cam:80/a"], "http://CAM/onvif/device_service") == ()
        assert wire.rewritten(["https://cam/a"], "https://cam:443/onvif/device_service") == ()


class TestProfiles:
    def test_main_is_the_largest_and_sub_the_next(self) -> None:
        small, large = profile("a"), profile("b", width=1920, height=1080)
        middle = profile("c", width=1280, height=720)
        other = profile("d", width=4096, height=2160, source="VS2")
        chosen = wire.chosen_profiles((small, large, middle, other), "VS1")
        assert [each.token for each in chosen] == ["b", "c"]

    def test_a_jpeg_profile_never_hides_a_video_profile(self) -> None:
        jpeg, video = profile("j", codec="jpeg", width=1920, height=1080), profile("v")
        assert [each.token for each in wire.chosen_profiles((jpeg, video), "VS1")] == ["v", "j"]

    def test_sources_keep_the_device_order_and_say_what_they_can(self) -> None:
        found = wire.inventory(
            identity=Identity(),
            clock_offset_s=None,
            services={"media": "", "ptz": "", "events": ""},
            video_sources=("VS2", "VS1"),
            profiles=(
                profile("a", ptz=True, source_name="East gate"),
                profile("b", source="VS2", audio=True),
                profile("c", source="VS9"),
            ),
        )
        assert [(s.address, s.channel_number) for s in found.sources] == [
            ("VS2", 1), ("VS1", 2), ("VS9", 3),
        ]  # fmt: skip
        assert found.sources[1].name == "East gate"
        assert found.sources[0].capabilities == {"audio", "events"}
        assert found.sources[1].capabilities == {"ptz", "events"}

    def test_a_source_without_a_ptz_service_cannot_move(self) -> None:
        found = wire.inventory(
            identity=Identity(),
            clock_offset_s=None,
            services={"media": ""},
            video_sources=(),
            profiles=(profile("a", ptz=True),),
        )
        assert found.sources[0].capabilities == frozenset()


class TestRequests:
    def test_are_signed_with_the_clock_of_the_device_in_zulu_form(self) -> None:
        login = soap.Login(username="admin", password=Secret("pässword"), offset_s=-7_200.0)
        body, content_type = soap.encode(wire.GET_IDENTITY, login)
        assert content_type.startswith("application/soap+xml; charset=utf-8; action=")
        token: Any = etree.fromstring(body).find(".//{*}UsernameToken")
        created = token.findtext("{*}Created")
        nonce = base64.b64decode(token.findtext("{*}Nonce"))
        digest = hashlib.sha1(nonce + created.encode() + "pässword".encode()).digest()
        assert token.findtext("{*}Password") == base64.b64encode(digest).decode()
        assert created.endswith("Z")
        device_time = datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z")
        assert abs(device_time - datetime.now(UTC) + timedelta(hours=2)) < timedelta(seconds=5)
        assert b"p\xc3\xa4ssword" not in body

    def test_are_anonymous_without_a_user_name(self) -> None:
        body, _ = soap.encode(wire.GET_IDENTITY, soap.Login(username="", password=Secret("")))
        assert b"Security" not in body


class TestAnyDocument:
    @given(st.binary(max_size=400), st.sampled_from(READERS), st.sampled_from([200, 400, 500]))
    def test_is_read_or_refused(
        self, document: bytes, call: soap.Call[object], status: int
    ) -> None:
        with pytest.raises(AdapterError):
            soap.decode(call, status, document)

    @given(st.data(), st.sampled_from(READERS))
    def test_of_the_right_shape_is_read_or_refused(
        self, data: st.DataObject, call: soap.Call[object]
    ) -> None:
        names = st.sampled_from(
            ["UTCDateTime", "Date", "Time", "Year", "Service", "XAddr", "Namespace", "Profiles",
             "VideoSourceConfiguration", "VideoEncoderConfiguration", "Resolution", "Width",
             "MediaUri", "Uri", "Capabilities", "Media", "VideoSources", "Model", "Configurations",
             "VideoSource", "VideoEncoder", "Encoding", "GUID"]
        )  # fmt: skip
        texts = st.sampled_from(["", "1", "-1", "x", "99999999999999999999", "NaN"])
        tree = st.recursive(
            st.tuples(names, texts), lambda inner: st.tuples(names, st.lists(inner, max_size=4))
        )
        answer = f"{call.operation}Response"
        body = "".join(_xml(each) for each in data.draw(st.lists(tree, max_size=4)))
        document = (
            f'<e:Envelope xmlns:e="{soap.SOAP_12}" xmlns="http://www.onvif.org/ver10/schema">'
            f"<e:Body><{answer}>{body}</{answer}></e:Body></e:Envelope>"
        )
        try:
            soap.decode(call, 200, document.encode())
        except AdapterError as error:
            assert "\n" not in error.message

    @given(st.binary(max_size=400))
    def test_in_a_datagram_is_read_or_refused(self, document: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            ws_discovery.probe_matches(document, "10.0.0.1")


def _xml(node: object) -> str:
    assert isinstance(node, tuple)
    name, inside = node
    text = inside if isinstance(inside, str) else "".join(_xml(each) for each in inside)
    return f"<{name}>{text}</{name}>"


def test_a_probe_asks_for_video_transmitters_with_an_id_of_its_own() -> None:
    first, second = (etree.fromstring(ws_discovery.probe()) for _ in range(2))
    assert first.findtext(".//{*}Types") == "dn:NetworkVideoTransmitter"
    assert first.findtext(".//{*}MessageID") != second.findtext(".//{*}MessageID")


def test_onvif_zeep_leaves_logging_and_proxies_alone() -> None:
    program = (
        "import logging, os; os.environ['http_proxy'] = 'http://proxy.example';"
        "import adapters.onvif.adapter; root = logging.getLogger();"
        "print(len(root.handlers), root.level, logging.getLogger('zeep.client').level,"
        " os.environ['http_proxy'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["0", str(logging.WARNING), "0", "http://proxy.example"]
