"""All devices of a node as one fleet: whose return brings whose next attempt forward.

A power cut takes a whole network and gives it back as a whole. So a device that is back calls its
siblings, and one that says hello is tried at once, all within one budget of attempts.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import random
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from gateway.agents.budget import Budget
from gateway.agents.supervisor import Supervised

SPREAD_S = 2.0
"""Siblings that are called are tried within this time, not all at once."""
SWEEP_EVERY_S = 1.0
HELLO_EVERY_S = 2.0
_HELLOS_REMEMBERED = 4096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FleetFigures:
    """Of this moment, but attempts, hellos and brought_forward, which count from the start."""

    devices: int
    online: int
    breaker_open: int
    flapping: int
    attempts_waiting: int
    attempts_under_way: int
    attempts_highest: int
    attempts: int
    hellos: int
    brought_forward: int


class Fleet:
    """spread: between 0 and 1, how a call to siblings is spread over time."""

    def __init__(
        self, budget: Budget | None = None, *, spread: Callable[[], float] = random.random
    ) -> None:
        self.budget = budget or Budget()
        self.hellos = 0
        self.brought_forward = 0
        self._spread = spread
        self._now_s = asyncio.get_running_loop().time
        self._networks: dict[str, dict[Supervised, None]] = {}
        self._hosts: dict[str, dict[Supervised, None]] = {}
        self._swept_s: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}
        self._attempts_before = 0

    @contextlib.contextmanager
    def member(self, device: Supervised, endpoint: str) -> Iterator[None]:
        """A device belongs to the fleet for as long as it runs. endpoint: host or URL."""
        host = host_of(endpoint)
        network = network_of(host)
        device.on_back = lambda: self._back(device, network)
        self._hosts.setdefault(host, {})[device] = None
        self._networks.setdefault(network, {})[device] = None
        try:
            yield
        finally:
            self._attempts_before += device.attempts
            _leave(self._hosts, host, device)
            _leave(self._networks, network, device)
            if network not in self._networks:
                self._swept_s.pop(network, None)

    def hello(self, endpoint: str) -> int:
        """A device said hello: try all that is away on its host now. How many that brings on.

        The same host is heard once in `HELLO_EVERY_S`: anybody on the network can say hello.
        """
        host = host_of(endpoint)
        members = self._hosts.get(host, {})
        now_s = self._now_s()
        if not members or now_s - self._heard_s.get(host, float("-inf")) < HELLO_EVERY_S:
            return 0
        if len(self._heard_s) >= _HELLOS_REMEMBERED:
            self._heard_s.clear()
        self._heard_s[host] = now_s
        self.hellos += 1
        return sum([device.greet() for device in members])

    def figures(self) -> FleetFigures:
        devices = [device for members in self._hosts.values() for device in members]
        return FleetFigures(
            devices=len(devices),
            online=sum(device.online for device in devices),
            breaker_open=sum(device.breaker_open and not device.online for device in devices),
            flapping=sum(device.flapping for device in devices),
            attempts_waiting=self.budget.waiting,
            attempts_under_way=self.budget.under_way,
            attempts_highest=self.budget.highest,
            attempts=self._attempts_before + sum(device.attempts for device in devices),
            hellos=self.hellos,
            brought_forward=self.brought_forward,
        )

    def _back(self, device: Supervised, network: str) -> None:
        """Call the siblings, once a second and network at most: hundreds come back together."""
        now_s = self._now_s()
        if now_s - self._swept_s.get(network, float("-inf")) < SWEEP_EVERY_S:
            return
        self._swept_s[network] = now_s
        for sibling in self._networks.get(network, ()):
            if sibling is not device:
                delay_s = SPREAD_S * self._spread()
                self.brought_forward += sibling.bring_forward(delay_s)


def _leave(groups: dict[str, dict[Supervised, None]], name: str, device: Supervised) -> None:
    groups[name].pop(device, None)
    if not groups[name]:
        del groups[name]


def host_of(endpoint: str) -> str:
    """The host of an endpoint, which is a host, ``host:port`` or a URL; lower case."""
    text = endpoint.strip()
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        host = None
    return (host or text).lower()


def network_of(host: str) -> str:
    """The network that siblings share: /24 of an IPv4 address, /64 of an IPv6 one. A name has no
    sibling but itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    length = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, length), strict=False))
