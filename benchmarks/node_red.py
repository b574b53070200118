"""The bridge's first rule as a Node-RED flow: who presses first talks, the other member is keyed.

Node-RED comes from npm into a temporary folder. It is what somebody would build without us, so
it is measured beside us; it has no leases, no queue, no priorities and no memory of who may talk.
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.bus.address import BrokerAddress
from gateway.bus.topics import Topics

PACKAGE = "node-red@4"
_INSTALL_S = 180.0
_START_S = 60.0
_RULE = """
const event = msg.payload;
const kind = event.type, from = event.subject;
const to = (from[0] === 'a' ? 'b' : 'a') + from.slice(1);
const patch = 'p' + from.slice(1);
const holder = flow.get(patch) || null;
const topic = msg.topic.replace('/event/', '/command/').replace(/[^/]+$/, to);
function command(action, transmission) {
    return {topic, qos: 1, payload: {
        id: RED.util.generateId(), action, transmission, lease_ms: 2000, bridge_epoch: 1,
        talker: event.data.talker, priority: event.data.priority, patch}};
}
if (kind === 'hutong.floor.taken' && !holder) {
    const transmission = RED.util.generateId();
    flow.set(patch, {from, stream: event.data.stream, transmission});
    return command('floor.request', transmission);
}
if (kind === 'hutong.floor.refreshed' && holder && holder.stream === event.data.stream) {
    return null;
}
if (kind === 'hutong.floor.idle' && holder && holder.stream === event.data.stream) {
    flow.set(patch, null);
    return command('floor.release', holder.transmission);
}
return null;
"""


def install() -> Path | None:
    """The folder with Node-RED in it, None where npm cannot bring it. Blocks."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="hutong-node-red-"))
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S)
    except (subprocess.SubprocessError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder


def flow(address: BrokerAddress, prefix: str) -> list[dict[str, Any]]:
    """One tab: event in, the rule, command out."""
    broker = {
        "id": "broker",
        "type": "mqtt-broker",
        "broker": address.host,
        "port": str(address.port),
        "clientid": "node-red",
        "protocolVersion": "4",
        "keepalive": "60",
        "cleansession": True,
        "autoConnect": True,
    }
    come = {
        "id": "in",
        "type": "mqtt in",
        "z": "tab",
        "topic": f"{prefix}/org/channels/event/#",
        "qos": "0",
        "datatype": "json",
        "broker": "broker",
        "inputs": 0,
        "wires": [["rule"]],
    }
    rule = {"id": "rule", "type": "function", "z": "tab", "func": _RULE, "outputs": 1,
            "wires": [["out"]]}  # fmt: skip
    go = {"id": "out", "type": "mqtt out", "z": "tab", "topic": "", "qos": "1", "broker": "broker",
          "wires": []}  # fmt: skip
    return [{"id": "tab", "type": "tab", "label": "floor"}, broker, come, rule, go]


@contextlib.asynccontextmanager
async def running(installed: Path, address: BrokerAddress, folder: Path) -> AsyncIterator[None]:
    """Node-RED with the flow, connected; its folders are gone afterwards."""
    program = installed / "node_modules" / "node-red" / "red.js"
    _write(folder, address)
    process = await asyncio.create_subprocess_exec(
        *(
            "node",
            str(program),
            "--userDir",
            str(folder),
            "--settings",
            str(folder / "settings.js"),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading: asyncio.Task[None] | None = None
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_S):
            while b"Connected to broker" not in (line := await process.stdout.readline()):
                if not line:
                    raise RuntimeError("Node-RED did not start")
        reading = asyncio.create_task(_read_on(process.stdout))
        await asyncio.sleep(0.5)
        yield
    finally:
        if reading is not None:
            reading.cancel()
        if process.returncode is None:
            process.kill()
        await process.wait()
        shutil.rmtree(installed, ignore_errors=True)


def _write(folder: Path, address: BrokerAddress) -> None:
    folder.mkdir(parents=True)
    settings = {
        "uiHost": "127.0.0.1",
        "uiPort": 0,
        "httpAdminRoot": False,
        "httpNodeRoot": False,
        "credentialSecret": False,
        "flowFile": "flows.json",
        "logging": {"console": {"level": "info", "metrics": False, "audit": False}},
    }
    (folder / "settings.js").write_text(f"module.exports = {json.dumps(settings)};\n")
    (folder / "flows.json").write_text(json.dumps(flow(address, Topics().prefix)))
    secrets = {"broker": {"user": address.username or "", "password": address.password or ""}}
    (folder / "flows_cred.json").write_text(json.dumps(secrets))


async def _read_on(output: asyncio.StreamReader) -> None:
    """So that its log never blocks it."""
    while await output.readline():
        pass
