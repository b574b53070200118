"""The documents of a Lantern recorder, as its API writes them. Pure: no I/O, no clock."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

M = TypeVar("M", bound=BaseModel)
Text = Annotated[str, Field(max_length=256)]
Token = Annotated[str, Field(min_length=1, max_length=256)]


class MalformedDocument(Exception):
    """A document that the API does not allow; one clause says which field is wrong."""


class _Document(BaseModel):
    """Fields that a newer firmware adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Session(_Document):
    token: Token = Field(repr=False)


class Recorder(_Document):
    """time: by its own clock."""

    maker: Text
    model: Text
    serial: Text
    firmware: Text = ""
    time: AwareDatetime | None = None

    def clock_offset_s(self, now: datetime) -> float | None:
        """Its clock minus ours."""
        return None if self.time is None else (self.time - now).total_seconds()


class Stream(_Document):
    """quality: ``hd`` or ``sd``. url: by RTSP."""

    quality: Literal["hd", "sd"]
    codec: Literal["h264", "h265", "jpeg"]
    width: int = Field(0, ge=0)
    height: int = Field(0, ge=0)
    fps: float = Field(0.0, ge=0)
    kbps: int = Field(0, ge=0)
    url: Annotated[str, Field(pattern=r"^rtsps?://[^/@\s]+(/\S*)?$", max_length=2048)]


class Channel(_Document):
    """number: of its socket, from 1; there may be gaps. connected: whether it has a camera."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    number: int
    name: Text
    connected: bool = True
    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]


class Channels(_Document):
    channels: tuple[Channel, ...]


class Batch(_Document):
    """next: what to ask with for what comes after these events."""

    next: int
    events: Annotated[tuple[Any, ...], Field(max_length=1000)]


class Event(BaseModel):
    """What happened on a channel, or to the recorder as a whole where that is empty.

    state: it begins, it ends, or it has no duration. part: which disk or input.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    kind: Token
    channel: Text = ""
    state: Literal["begin", "end", "once"]
    part: Text = ""


def read(kind: type[M], document: bytes) -> M:
    """Raises: MalformedDocument."""
    try:
        return kind.model_validate_json(document)
    except ValidationError as error:
        raise MalformedDocument(_told(error)) from None


def read_event(document: Any) -> Event:
    """One event of a batch. Raises: MalformedDocument."""
    try:
        return Event.model_validate(document)
    except ValidationError as error:
        raise MalformedDocument(_told(error)) from None


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'the document'}: {first['type'].replace('_', ' ')}"
