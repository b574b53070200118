"""`hutong agent`: one radio system's agent at its site, which needs the broker and no database.

What it runs, its retained config says; the copy on disk is used until the broker is there.
Secrets come from a file of its own alone.
"""

import asyncio
import contextlib
import dataclasses
import os
import stat
import tomllib
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import structlog

from adapters.base import Adapter
from adapters.errors import AdapterError
from gateway.agents.budget import Budget
from gateway.agents.build import radio_adapter
from gateway.agents.outbox import Outbox
from gateway.agents.radio import Channel, RadioAgent
from gateway.bus.address import BrokerAddress, parse_broker_url
from gateway.bus.client import Bus, check
from gateway.bus.errors import BrokerAway
from gateway.bus.messages import decode
from gateway.bus.topics import InvalidTopic, Topics
from gateway.roster import traits_of
from gateway.settings import Settings, SettingsError
from gateway.startup import CannotStart, node_name, prepare_data_dir

log = structlog.get_logger("site")

CONFIG_WITHIN_S = 5.0
"""How long a broker that is there may take for a config that it keeps."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """A system as its retained config gives it. org: slug path. runs_at: ``gateway`` or ``site``.
    settings: the plain ones of its adapter."""

    version: int
    adapter: str
    channels: tuple[Channel, ...]
    org: str = ""
    runs_at: str = "gateway"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_config(payload: bytes) -> SiteConfig | None:
    """None for a system that there is not. Raises: ValueError."""
    if not payload:
        return None
    try:
        return msgspec.convert(decode(payload), SiteConfig)
    except msgspec.ValidationError as error:
        raise ValueError(f"system config: {error}") from None


def read_secrets(path: Path, *, required: bool) -> dict[str, Any]:
    """The secret settings, in TOML. Raises: CannotStart, one sentence."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise CannotStart(
                    f"the secrets file {path} has mode {mode:04o}, so others may read it: "
                    f"chmod 600 {path}"
                )
            return tomllib.load(file)
    except FileNotFoundError:
        if not required:
            return {}
        raise CannotStart(
            f"there is no secrets file {path}: write the system's secret settings into it, mode "
            "0600, or name another with --secrets"
        ) from None
    except OSError as error:
        raise CannotStart(f"the secrets file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CannotStart(f"the secrets file {path} is not valid TOML: {error}") from None


async def run(settings: Settings, system_id: str, secrets: Path | None = None) -> None:
    """Until cancelled. secrets: `agent-SYSTEM.toml` in the data directory when None.

    Raises: CannotStart, SettingsError, BusError, a sentence each.
    """
    topics = Topics(settings.mqtt_prefix)
    try:
        topics.system_config(system_id)
    except InvalidTopic:
        raise CannotStart(f"--system {system_id!r} is no id: copy it from the console") from None
    address = _broker(settings)
    folder = prepare_data_dir(settings)
    file = secrets or folder / f"agent-{system_id}.toml"
    hidden = read_secrets(file, required=secrets is not None)
    site = Site(
        Bus(
            address,
            node=node_name(folder),
            topics=topics,
            roles=("agent",),
            version=version("hutong"),
        ),
        system_id,
        folder,
        hidden,
        missing=f"; secret settings belong into {file}" if not hidden else "",
    )
    try:
        await check(address)
    except BrokerAway as error:
        if not site.knows:
            log.warning("no copy of the system's config yet: waits for the broker")
        log.warning("broker is away", reason=str(error))
    await site.run()


def _broker(settings: Settings) -> BrokerAddress:
    if settings.mqtt_url is None or not settings.mqtt_url.get_secret_value():
        raise SettingsError(
            "HUTONG_MQTT_URL is not set: an agent at a site needs the broker of the gateway, such "
            "as mqtts://user:password@gateway.example"
        )
    return parse_broker_url(settings.mqtt_url.get_secret_value())


class Site:
    """One system's agent, begun anew whenever its config changes. hidden: its secret settings;
    missing: what to say of them where an adapter refuses its settings."""

    def __init__(
        self, bus: Bus, system_id: str, folder: Path, hidden: Mapping[str, Any], missing: str = ""
    ) -> None:
        self.agent: RadioAgent | None = None
        self._bus, self._system_id = bus, system_id
        self._hidden, self._missing = hidden, missing
        self._outbox = folder / "outbox" / f"{system_id}.db"
        self._copy = folder / f"system-{system_id}.json"
        self._config = self._load()
        self._heard = asyncio.Event()
        self._changed = asyncio.Event()
        self._budget = Budget()
        bus.subscribe(bus.topics.system_config(system_id), self._on_config, kept=True)

    @property
    def knows(self) -> bool:
        """Is a config known, from the broker or from the copy?"""
        return self._config is not None

    async def run(self) -> None:
        """Until cancelled; what is keyed is unkeyed, and our absence told. Raises: CannotStart."""
        bus = asyncio.create_task(self._bus.run())
        try:
            if self._refusal(self._config):
                await self._first()
            await self._follow()
        finally:
            await self._bus.leave()
            bus.cancel()
            await asyncio.wait([bus])

    async def _first(self) -> None:
        """Without a copy that can work: wait for the broker however long, and for what it keeps."""
        await self._bus.connected.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONFIG_WITHIN_S):
                await self._heard.wait()
        if not self.knows:
            raise CannotStart(
                f"the broker knows no system {self._system_id}: check --system and "
                "HUTONG_MQTT_PREFIX, that the system is enabled, and that the gateway runs"
            )

    async def _follow(self) -> None:
        """Run what the config says, and again when it says something else."""
        first = True
        while True:
            self._changed.clear()
            config = self._config
            refusal = self._refusal(config)
            if config is not None and not refusal:
                async with self._running(config):
                    await self._changed.wait()
            elif first:
                raise CannotStart(refusal)
            else:
                log.error("agent waits", reason=refusal)
                await self._changed.wait()
            first = False

    def _refusal(self, config: SiteConfig | None) -> str:
        """Why nothing can run, empty when it can."""
        if config is None:
            return f"the system {self._system_id} was removed or disabled"
        if config.runs_at != "site":
            return (
                f"the system {self._system_id} is run by the gateway: set runs_at to site in its "
                "settings first"
            )
        try:
            self._make(config, ())
        except AdapterError as error:
            return f"the system's settings cannot work: {error}{self._missing}"
        return ""

    def _make(self, config: SiteConfig, addresses: tuple[str, ...]) -> Adapter:
        return radio_adapter(config.adapter, {**config.settings, **self._hidden}, addresses)

    @contextlib.asynccontextmanager
    async def _running(self, config: SiteConfig) -> AsyncIterator[None]:
        agent = RadioAgent(
            self._bus,
            system_id=self._system_id,
            org=config.org,
            make=lambda addresses: self._make(config, addresses),
            traits=traits_of(config.adapter),
            channels=config.channels,
            budget=self._budget,
            outbox=Outbox(self._bus, self._system_id, self._outbox),
        )
        log.info(
            "agent starts",
            system=self._system_id,
            adapter=config.adapter,
            channels=len(config.channels),
            node=self._bus.node,
        )
        task = asyncio.create_task(agent.run())
        self.agent = agent
        task.add_done_callback(lambda _task: self._changed.set())
        try:
            yield
            if task.done():
                task.result()  # a mistake of the agent's own ends us: whoever started us sees it
        finally:
            self.agent = None
            task.cancel()
            await asyncio.wait([task])
            now = self._config
            kept = now.channels if now is not None and now.runs_at == "site" else ()
            if now is not None and now.runs_at != "site":
                agent.hand_over()
            else:
                agent.retire({(channel.id, channel.org) for channel in kept})
                agent.retire_system(now.org if now is not None else None)

    # --- what the gateway says of it --------------------------------------------------------------

    def _on_config(self, _topic: str, payload: bytes) -> None:
        config = read_config(payload)
        self._heard.set()
        before, self._config = self._config, config
        if before == config:
            return
        self._save(payload)
        if _what_matters(config) != _what_matters(before):
            self._changed.set()
        elif config is not None and self.agent is not None:
            self.agent.retime(config.channels)

    def _save(self, payload: bytes) -> None:
        try:
            if not payload:
                self._copy.unlink(missing_ok=True)
                return
            draft = self._copy.with_suffix(".new")
            draft.write_bytes(payload)
            os.replace(draft, self._copy)
        except OSError as error:
            log.warning("copy of the config not written", reason=error.strerror)

    def _load(self) -> SiteConfig | None:
        with contextlib.suppress(OSError, ValueError):
            return read_config(self._copy.read_bytes())
        return None


def _what_matters(config: SiteConfig | None) -> SiteConfig | None:
    """What an agent is begun anew for. Its version counts every edit, also of a name."""
    if config is None:
        return None
    channels = tuple(dataclasses.replace(each, echo_s=None) for each in config.channels)
    return dataclasses.replace(config, version=0, channels=channels)
