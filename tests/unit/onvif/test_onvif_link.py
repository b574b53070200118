"""The lean connection, against servers that answer in every way HTTP allows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.errors import ProtocolViolation, Unreachable
from adapters.onvif.link import HttpLink, NoHttp, chunk_size, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Server:
    """Answers each request with the next of its answers; None ends the connection."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = URL()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if b"close" in answer:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def talking(*answers: bytes | None) -> AsyncIterator[tuple[Server, HttpLink]]:
    it, link = Server(answers), HttpLink(1_000)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/poll?a=%2F", encoded=True)
    try:
        yield it, link
    finally:
        link.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.0 200\r\nConnection: close\r\n\r\nhi",
    ],
    ids=["length", "continue", "chunks", "to-the-end"],
)
async def test_answers_in_every_form_are_read(answer: bytes) -> None:
    async with talking(answer, OK) as (server, link):
        assert (await link.post(server.url, "X: y\r\n", b"<a/>", 5)).body == b"hi"
        assert (await link.post(server.url, "", b"<b/>", 5)).body == b"hi"
        first, second = server.requests
        assert first.startswith(b"POST /poll?a=%2F HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X: y\r\n" in first
        assert second.endswith(b"\r\n\r\n<b/>")
        assert server.connections == (2 if b"close" in answer else 1)


async def test_a_challenge_is_handed_on() -> None:
    refusal = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="a"\r\n'
        b'WWW-Authenticate: Basic realm="b"\r\nContent-Length: 0\r\n\r\n'
    )
    async with talking(refusal) as (server, link):
        reply = await link.post(server.url, "", b"", 5)
        assert (reply.status, len(reply.challenges)) == (401, 2)


async def test_a_kept_connection_that_was_closed_is_tried_once_more() -> None:
    async with talking(OK, None, OK, None, None) as (server, link):
        await link.post(server.url, "", b"", 5)
        assert (await link.post(server.url, "", b"", 5)).body == b"hi"
        assert server.connections == 2
        with pytest.raises(ConnectionResetError):
            await link.post(server.url, "", b"", 5)
        assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SIP/2.0 200 OK\r\n\r\n", NoHttp),
        (b"HTTP/1.1 OK\r\n\r\n", NoHttp),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", ProtocolViolation),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", NoHttp),
        (b"x" * 40_000 + b"\r\n\r\n", NoHttp),
        (b"HTTP/1.1 200 close\r\n\r\n" + b"x" * 2_000, ProtocolViolation),
        (b"HTTP/1.1 200 close\r\nContent-Length: 9\r\n\r\nx", ConnectionResetError),
    ],
    ids=["sip", "no-code", "too-long", "negative", "endless-head", "endless-body", "cut-short"],
)
async def test_what_is_no_answer_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async with talking(answer) as (server, link):
        with pytest.raises(error):
            await link.post(server.url, "", b"", 5)


async def test_silence_ends_after_the_limit_and_nobody_there_is_unreachable() -> None:
    async with talking(b"") as (server, link):
        with pytest.raises(TimeoutError):
            await link.post(server.url, "", b"", 0.05)
        url = server.url
    with pytest.raises(Unreachable):
        await link.post(url, "", b"", 5)


@given(st.binary(max_size=200))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    for read in (read_head, chunk_size):
        with contextlib.suppress(NoHttp):
            read(data)
