"""How long a peer may take."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RtspLimits:
    """connect_s: for the connection, TLS included. request_s: for each answer. silence_s: a
    playing stream without a packet for so long is over. farewell_s: how long the answer to
    TEARDOWN is awaited."""

    connect_s: float = 5.0
    request_s: float = 5.0
    silence_s: float = 10.0
    farewell_s: float = 0.5
