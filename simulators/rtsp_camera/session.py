"""RTSP sessions: who plays what over which transport."""

import asyncio
import socket
import struct
from typing import Final

from simulators.rtsp_camera.rtp import FramePackets

_SLOW_CLIENT_BYTES: Final = 256 * 1024
_PORT_ATTEMPTS: Final = 64


class TcpPlayer:
    """Plays over the RTSP connection itself. A slow client loses frames up to a keyframe."""

    def __init__(self, transport: asyncio.Transport, channels: tuple[int, int]) -> None:
        self.frames_dropped = 0
        self._transport = transport
        self._channels = channels
        self._waits_for_keyframe = False

    def deliver(self, data: bytearray, frame: FramePackets) -> None:
        if self._transport.get_write_buffer_size() > _SLOW_CLIENT_BYTES:
            self._waits_for_keyframe = True
        elif frame.keyframe:
            self._waits_for_keyframe = False
        if self._waits_for_keyframe:
            self.frames_dropped += 1
            return
        if self._channels[0]:
            data = bytearray(data)
            for offset in frame.offsets:
                data[offset + 1] = self._channels[0]
        self._transport.write(data)

    def packet(self, data: bytes) -> None:
        """An RTP packet by itself."""
        if not self._waits_for_keyframe:
            self._transport.write(struct.pack(">BBH", 0x24, self._channels[0], len(data)) + data)

    def junk(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() <= _SLOW_CLIENT_BYTES:
            self._transport.write(data)

    def report(self, data: bytes) -> None:
        if not self._waits_for_keyframe:
            self._transport.write(struct.pack(">BBH", 0x24, self._channels[1], len(data)) + data)


class UdpPlayer:
    """Plays from a camera's UDP ports to a client's."""

    def __init__(
        self, ports: "UdpPorts", host: str, client_ports: tuple[int, int], *, strays: bool = False
    ) -> None:
        self.frames_dropped = 0
        self._rtp = ports.stray if strays else ports.rtp
        self.rtcp_address = (host, client_ports[1])
        self._rtp_address = (host, client_ports[0])
        self._ports = ports

    def deliver(self, data: bytearray, frame: FramePackets) -> None:
        view = memoryview(data)
        ends = (*frame.offsets[1:], len(data))
        try:
            for offset, end in zip(frame.offsets, ends, strict=True):
                self._rtp.sendto(view[offset + 4 : end], self._rtp_address)
        except OSError:
            self.frames_dropped += 1

    def packet(self, data: bytes) -> None:
        """An RTP packet by itself."""
        try:
            self._rtp.sendto(data, self._rtp_address)
        except OSError:
            self.frames_dropped += 1

    def junk(self, data: bytes) -> None:
        pass

    def report(self, data: bytes) -> None:
        try:
            self._ports.rtcp.sendto(data, self.rtcp_address)
        except OSError:
            self.frames_dropped += 1


class UdpPorts:
    """An even RTP port and the odd RTCP port above it, on a camera's own address, and one more
    that nobody was told of."""

    def __init__(self, host: str) -> None:
        self.rtp, self.rtcp = _port_pair(host)
        self.stray = _udp_socket()
        self.stray.bind((host, 0))
        self.numbers: tuple[int, int] = (self.rtp.getsockname()[1], self.rtcp.getsockname()[1])

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()
        self.stray.close()


def _port_pair(host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(_PORT_ATTEMPTS):
        even, odd = _udp_socket(), _udp_socket()
        try:
            even.bind((host, 0))
            port = even.getsockname()[1]
            if port % 2 == 0:
                odd.bind((host, port + 1))
                return even, odd
        except OSError:
            pass
        even.close()
        odd.close()
    raise OSError(f"no free pair of UDP ports on {host}")


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock
