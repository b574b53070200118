"""What MediaMTX says, and where it and we are."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.mediaserver import wire
from gateway.live.mediaserver.errors import Away, Unsafe
from gateway.live.mediaserver.keys import AUDIENCE, ISSUER
from gateway.live.mediaserver.settings import MediaServerSettings, addresses
from gateway.settings import SettingsError, load

CONTROL = "http://media.example:9997"
SAFE = {
    "authMethod": "jwt",
    "authJWTExclude": [],
    "authJWTAudience": "hutong-media",
    "hlsCDNSecret": "",
}
SESSION = {
    "id": "0b7c6d3e-9b0a-4a65-9a51-2f1d8c1d3b11",
    "created": "2026-11-22T02:13:25.123456789Z",
    "path": "p",
    "user": "t1",
    "state": "read",
}


def test_readers_are_told_with_their_time_to_the_nanosecond() -> None:
    document = {"pageCount": 3, "itemCount": 1, "items": [SESSION]}
    (reader,), pages = wire.parse_readers("webrtcsessions", document)
    assert pages == 3
    assert (reader.id, reader.ticket_id, reader.path) == (SESSION["id"], "t1", "p")
    assert reader.transport == "whep"
    assert reader.created_s == pytest.approx(1_795_313_605.123456)


@pytest.mark.parametrize(
    "created", ["2026-11-22T10:13:25+08:00", "2026-11-22T02:13:25Z", "2026-11-22T10:13:25.0+08:00"]
)
def test_times_with_any_zone_and_fraction(created: str) -> None:
    document = {"pageCount": 1, "items": [{**SESSION, "created": created}]}
    (reader,), _ = wire.parse_readers("hlssessions", document)
    assert reader.created_s == 1_795_313_605


def test_who_publishes_is_no_reader() -> None:
    document = {"pageCount": 1, "items": [{**SESSION, "state": "publish"}]}
    assert wire.parse_readers("rtspsessions", document) == ([], 1)


def test_who_has_shown_no_token_yet_has_no_ticket() -> None:
    bare = {"id": "x", "created": SESSION["created"]}
    (reader,), _ = wire.parse_readers("moqsessions", {"pageCount": 1, "items": [bare]})
    assert (reader.ticket_id, reader.path) == ("", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON | st.fixed_dictionaries({"pageCount": JSON, "items": JSON}))
def test_any_document_is_read_or_refused(document: Any) -> None:
    for parse in (lambda d: wire.parse_readers("rtspsessions", d), wire.parse_names):
        try:
            parse(document)
        except Away:
            continue


@given(st.dictionaries(st.sampled_from(["id", "created", "user", "path", "state"]), st.text()))
def test_any_session_is_read_or_refused(session: dict[str, str]) -> None:
    try:
        wire.parse_readers("rtspsessions", {"pageCount": 1, "items": [session]})
    except Away:
        return
    assert "id" in session


@pytest.mark.parametrize(
    "changed",
    [
        {"authMethod": "internal"},
        {"authMethod": "http"},
        {"authJWTExclude": [{"action": "api"}]},
        {"authJWTAudience": ""},
        {"authJWTAudience": "others"},
        {"hlsCDNSecret": "known to a CDN"},
    ],
)
def test_a_server_that_opens_to_more_than_our_tokens_is_unsafe(changed: dict[str, Any]) -> None:
    wire.check_safe(SAFE, "hutong-media")
    with pytest.raises(Unsafe):
        wire.check_safe({**SAFE, **changed}, "hutong-media")


def test_what_a_server_offers_is_on_its_own_host_and_ports() -> None:
    said: dict[str, Any] = {
        "webrtc": True,
        "webrtcAddress": ":8889",
        "webrtcEncryption": True,
        "hls": True,
        "hlsAddress": "127.0.0.1:8888",
        "rtsp": True,
        "rtspAddress": ":8554",
        "rtspsAddress": ":8322",
        "rtspEncryption": "no",
    }
    offer = wire.offer(said, CONTROL)
    assert offer.whep == "https://media.example:8889"
    assert offer.hls == "http://media.example:8888"
    assert offer.rtsp == "rtsp://media.example:8554"
    strict = wire.offer({**said, "rtspEncryption": "strict", "hls": False}, "http://[::1]:9997")
    assert strict.rtsp == "rtsps://[::1]:8322"
    assert strict.hls == ""
    assert wire.unneeded({**said, "srt": True, "moq": True}) == ["srt", "moq"]


# --- settings -------------------------------------------------------------------------------------


def test_one_server_or_several() -> None:
    settings = MediaServerSettings(
        control=addresses("http://a:9997, http://b:9997"),
        whep=addresses("https://media.example/a/,https://media.example/b"),
    )
    (first, offered), (second, other) = settings.servers
    assert (first, offered.whep) == ("http://a:9997", "https://media.example/a")
    assert (second, other.whep, other.rtsp) == ("http://b:9997", "https://media.example/b", "")
    assert addresses("") == ()


@pytest.mark.parametrize(
    "given",
    [
        {"control": ("media:9997",)},
        {"control": ("rtsp://media:9997",)},
        {"control": ("http://user:password@media:9997",)},
        {"control": ("http://media:port",)},
        {"control": ("http://a:9997", "http://b:9997"), "hls": ("http://a:8888",)},
        {"control": ("http://a:9997",), "rtsp": ("http://a:8554",)},
        {"control": ("http://a:9997",), "feed": "rtsp://gateway"},
        {"control": ("http://a:9997",), "feed": "http://gateway:8654"},
    ],
)
def test_what_cannot_be_an_address_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|name as many"):
        MediaServerSettings(**given)


@pytest.mark.parametrize(
    ("feed", "bind", "base"),
    [
        ("", "127.0.0.1", "rtsp://127.0.0.1:4321"),
        ("rtsp://127.0.0.2:8654", "127.0.0.2", "rtsp://127.0.0.2:8654"),
        ("rtsp://localhost:8654/", "localhost", "rtsp://localhost:8654"),
        ("rtsp://gateway:8654", "0.0.0.0", "rtsp://gateway:8654"),
        ("rtsp://[2001:db8::5]:8654", "::", "rtsp://[2001:db8::5]:8654"),
    ],
)
def test_the_feed_is_open_to_other_machines_only_where_it_has_to_be(
    feed: str, bind: str, base: str
) -> None:
    settings = MediaServerSettings(control=(CONTROL,), feed=feed)
    assert settings.feed_bind == bind
    assert settings.feed_base(4321) == base


def test_a_media_server_that_cannot_be_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUTONG_MEDIA_SERVER_URL", raising=False)
    assert load().media_servers is None
    with pytest.raises(SettingsError, match=r"HUTONG_MEDIA_SERVER_URL .* must look like"):
        load(media_server_url="media.example:9997")
    servers = load(media_server_url="http://a:9997,http://b:9997").media_servers
    assert servers is not None
    assert servers.control == ("http://a:9997", "http://b:9997")


def test_the_configuration_that_comes_with_us_is_one_that_we_use() -> None:
    root = Path(__file__).parents[3]
    given = yaml.safe_load((root / "deploy" / "mediamtx" / "mediamtx.yml").read_text())
    wire.check_safe(given, AUDIENCE)
    assert given["authJWTIssuer"] == ISSUER
    assert given["authJWTJWKS"].endswith("/.well-known/jwks.json")
    assert wire.unneeded(given) == []
    assert given["paths"] == {}, "no path but ours"
    offer = wire.offer(given, CONTROL)
    assert (offer.whep[-4:], offer.hls[-4:], offer.rtsp[-4:]) == ("8889", "8888", "8554")
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    published = {port.split(":")[0] for port in compose["mediamtx"]["ports"]}
    assert published == {"8554", "8888", "8889", "8189"}, "not its control API"
    feed = compose["gateway"]["environment"]["HUTONG_MEDIA_FEED_URL"]
    assert MediaServerSettings(control=(CONTROL,), feed=feed).feed_bind == "0.0.0.0"
