"""A channel: its members, and the one stream that may be on it."""

import dataclasses
from typing import Protocol

from simulators.zello_server import wire
from simulators.zello_server.record import Kind, Log
from simulators.zello_server.wire import ErrorText, Refused


class Member(Protocol):
    """Somebody on a channel: a connection or a phone."""

    username: str

    def deliver(self, message: wire.Message) -> None: ...
    def deliver_audio(self, packet: wire.AudioPacket) -> None: ...
    def next_stream(self) -> int: ...


@dataclasses.dataclass(slots=True, eq=False)
class Stream:
    """One talk. id: the sender's; each listener knows it by an id of its own."""

    id: int
    channel: "Channel"
    sender: Member
    audio: wire.Audio
    listeners: list[tuple[Member, int]]
    packets: int = 0
    ended: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Channel:
    """name: as written; the real service tells case apart when it delivers, not at logon.
    lose_ends: a fault: nobody is told that a talk is over."""

    name: str
    log: Log
    texting: bool = True
    locations: bool = True
    lose_ends: bool = False
    members: list[Member] = dataclasses.field(default_factory=list)
    deaf: list[Member] = dataclasses.field(default_factory=list)
    talk: Stream | None = None

    def join(self, member: Member, name: str) -> None:
        """Enter under a name that may be spelled in another case: such a member hears nothing."""
        (self.members if name == self.name else self.deaf).append(member)
        self.announce()

    def leave(self, member: Member) -> None:
        if self.talk is not None and self.talk.sender is member:
            self.end("sender gone")
        if self.talk is not None:
            self.talk.listeners = [pair for pair in self.talk.listeners if pair[0] is not member]
        if member in self.members or member in self.deaf:
            self.members = [other for other in self.members if other is not member]
            self.deaf = [other for other in self.deaf if other is not member]
            self.announce()

    def announce(self) -> None:
        """Tell every member how many there are, as the service does on each join and leave."""
        for member in self.members:
            member.deliver(self.status(self.name))

    def status(self, name: str) -> wire.Message:
        users = len(self.members) + len(self.deaf)
        return wire.channel_status(
            name, online=True, users=users, texting=self.texting, locations=self.locations
        )

    def start(self, sender: Member, audio: wire.Audio) -> Stream:
        """Begin to talk. Raises: Refused while somebody does."""
        if self.talk is not None:
            raise Refused(ErrorText.START_FAILED)
        listeners = [
            (member, member.next_stream())
            for member in self.members
            if member is not sender and audio.for_user in ("", member.username)
        ]
        stream = Stream(sender.next_stream(), self, sender, audio, listeners)
        self.talk = stream
        self.log.add(Kind.START, username=sender.username, channel=self.name, stream=stream.id)
        for member, number in listeners:
            member.deliver(wire.stream_start(number, self.name, sender.username, audio))
        return stream

    def relay(self, stream: Stream, data: bytes) -> None:
        """Pass a packet on to the listeners."""
        self.log.add(
            Kind.PACKET,
            username=stream.sender.username,
            channel=self.name,
            stream=stream.id,
            detail=str(len(data)),
        )
        for member, number in stream.listeners:
            member.deliver_audio(wire.AudioPacket(stream=number, packet=stream.packets, data=data))
        stream.packets += 1

    def end(self, reason: str, *, tell_sender: bool = False) -> None:
        """End the talk, if there is one. A stream that the server ends is told to its sender."""
        stream, self.talk = self.talk, None
        if stream is None:
            return
        stream.ended = True
        self.log.add(
            Kind.STOP,
            username=stream.sender.username,
            channel=self.name,
            stream=stream.id,
            detail=reason,
        )
        for member, number in stream.listeners if not self.lose_ends else ():
            member.deliver(wire.stream_stop(number))
        if tell_sender:
            stream.sender.deliver(wire.stream_stop(stream.id))

    def text(self, sender: Member, number: int, text: str, for_user: str) -> None:
        self.log.add(Kind.TEXT, username=sender.username, channel=self.name, detail=text)
        message = wire.text_message(number, self.name, sender.username, text, for_user)
        for member in self.members:
            if member is not sender and for_user in ("", member.username):
                member.deliver(message)

    def location(self, sender: Member, number: int, location: wire.Location, for_user: str) -> None:
        place = f"{location.latitude_deg} {location.longitude_deg}"
        self.log.add(Kind.LOCATION, username=sender.username, channel=self.name, detail=place)
        message = wire.location_message(number, self.name, sender.username, location, for_user)
        for member in self.members:
            if member is not sender and for_user in ("", member.username):
                member.deliver(message)
