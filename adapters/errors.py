"""What can go wrong between an adapter and its device.

AdapterError
├── Unreachable            retryable   nobody answers, or the connection broke
├── TimedOut               retryable   it answered too late
├── ProtocolViolation      retryable   it answered something that its protocol does not allow
├── Busy                   retryable   it has no room now: session limit, channel in use
├── AuthenticationFailed   final       it refused our name or password
├── InvalidSettings        final       what it was configured with cannot work
└── NotSupported           final       the device or the adapter cannot do this
"""

import os
import socket
from typing import ClassVar


class AdapterError(Exception):
    """Base of all errors that cross the seam.

    message: one sentence for a person, saying what failed and what to do.
    device: host, URL or system the error is about. address: the part of it, where one is meant.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, device: str = "", address: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.device = device
        self.address = address

    def __str__(self) -> str:
        where = "/".join(part for part in (self.device, self.address) if part)
        return f"{where}: {self.message}" if where else self.message


class Unreachable(AdapterError):
    retryable = True


class TimedOut(AdapterError):
    retryable = True


class ProtocolViolation(AdapterError):
    retryable = True


class Busy(AdapterError):
    retryable = True


class AuthenticationFailed(AdapterError):
    pass


class InvalidSettings(AdapterError):
    pass


class NotSupported(AdapterError):
    pass


def reason_of(error: OSError) -> str:
    """What the system says, without the address that asyncio writes into its own errors: who may
    read our message may not read that."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    is_name = isinstance(error, socket.gaierror)
    return (is_name and error.strerror) or type(error).__name__
