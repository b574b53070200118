"""What can go wrong with the bus.

BusError
├── BrokerAway          retryable   the broker does not answer, or the connection broke
├── BrokerRefused       final       it refused our name or password
└── BrokerNotStarted    final       the embedded broker could not be started
"""

from typing import ClassVar


class BusError(Exception):
    retryable: ClassVar[bool] = False


class BrokerAway(BusError):
    retryable = True


class BrokerRefused(BusError):
    pass


class BrokerNotStarted(BusError):
    pass
