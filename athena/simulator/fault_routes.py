"""The admin routes of faults: lay, look, lift."""

from __future__ import annotations

from aiohttp import web

from athena.errors import SimulatorError
from athena.simulator.errors import NOT_FOUND, VenueError, invalid
from athena.simulator.fault_desk import FaultDesk
from athena.simulator.fault_reading import read_fault
from athena.simulator.parameters import json_object

FAULTS = web.AppKey("faults", FaultDesk)

routes = web.RouteTableDef()


@routes.post("/simulator/faults")
async def lay(request: web.Request) -> web.Response:
    """One fault, or {"faults": [...]}: all are laid, or none if one is wrong; answers them with their ids."""
    body = await json_object(request)
    rows = body.get("faults", [body])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise invalid("faults must be a list of objects")
    desk = request.app[FAULTS]
    try:
        faults = [read_fault(row) for row in rows]
        for fault in faults:
            desk.check(fault)
        laid = [desk.lay(fault) for fault in faults]
    except SimulatorError as error:
        raise invalid(str(error)) from None
    return web.json_response({"faults": [one.row() for one in laid]})


@routes.get("/simulator/faults")
async def look(request: web.Request) -> web.Response:
    """Every fault laid since the start with its state, and the last lines of the log."""
    desk = request.app[FAULTS]
    return web.json_response({"faults": desk.report(), "log": list(desk.lines)})


@routes.delete("/simulator/faults")
@routes.delete("/simulator/faults/{id}")
async def lift(request: web.Request) -> web.Response:
    """Ends one fault or all of them; answers those that were live."""
    try:
        ended = request.app[FAULTS].remove(request.match_info.get("id", ""))
    except SimulatorError as error:
        raise VenueError(404, NOT_FOUND, str(error)) from None
    return web.json_response({"faults": [one.row() for one in ended]})
