"""Setting the clock of a device: on request only, for many take it from somewhere better."""

from fastapi import APIRouter, Response

from adapters.events import Result, SetClock
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer
from registry import devices
from registry.database import Connection
from registry.devices import Device
from registry.errors import Conflict
from registry.partition import INTEGRATE, require

router = APIRouter(tags=["devices"])


@router.post("/devices/{device_id}/clock")
async def set_clock(
    device_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Set the device's clock to this machine's."""

    def may(connection: Connection) -> Device:
        device = devices.get(connection, principal, device_id)
        require(principal, INTEGRATE, device.organization.path)
        return device

    device = await context.database.read(may)
    owner = device.organization
    await context.audit.record(principal, "set_clock", "device", device_id, owner, {})
    outcome = await services.cameras.command(device_id, SetClock(address=""))
    if outcome.result is not Result.DONE:
        raise Conflict(f"the device did not set its clock: {outcome.reason}")
    return answer({"result": "done"})
