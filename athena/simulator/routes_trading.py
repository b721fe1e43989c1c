"""Orders and positions: the routes that trade."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from aiohttp import web

from athena.model import OrderType, Side, TimeInForce
from athena.simulator import wire
from athena.simulator.access import ACCOUNT, CLIENT_ORDER_ID, VENUE
from athena.simulator.errors import VenueError, invalid
from athena.simulator.market_data import BadQuestion
from athena.simulator.orders import OrderReplacement, OrderRequest, VenueOrder
from athena.simulator.parameters import amount, choice, flag, json_object, listed, text, when, whole, word, yes

routes = web.RouteTableDef()


def read_order(body: Mapping[str, Any]) -> OrderRequest:
    """An order as it arrived: fields known by their words, amounts exact; what they mean together is the exchange's."""
    symbol, side = text(body, "symbol"), word(Side, body, "side")
    kind, time_in_force = word(OrderType, body, "type"), word(TimeInForce, body, "time_in_force")
    for name, value in (("symbol", symbol), ("side", side), ("type", kind), ("time_in_force", time_in_force)):
        if value is None:
            raise invalid(f"{name} is required")
    order_class = text(body, "order_class") or ""
    return OrderRequest(
        symbol=cast(str, symbol),
        side=cast(Side, side),
        type=cast(OrderType, kind),
        time_in_force=cast(TimeInForce, time_in_force),
        quantity=amount(body, "qty"),
        notional=amount(body, "notional"),
        limit_price=amount(body, "limit_price"),
        stop_price=amount(body, "stop_price"),
        trail_price=amount(body, "trail_price"),
        trail_percent=amount(body, "trail_percent"),
        extended_hours=flag(body, "extended_hours"),
        client_order_id=text(body, "client_order_id"),
        order_class="" if order_class == "simple" else order_class,
    )


def _answer(request: web.Request, order: VenueOrder) -> web.Response:
    request[CLIENT_ORDER_ID] = order.client_order_id
    return web.json_response(wire.order(order))


@routes.post("/v2/orders")
async def submit(request: web.Request) -> web.Response:
    """Take an order in, or refuse it as Alpaca would."""
    body = await json_object(request)
    client_order_id = body.get("client_order_id")
    if isinstance(client_order_id, str):
        request[CLIENT_ORDER_ID] = client_order_id
    order = request[ACCOUNT].submit(read_order(body))
    request.app[VENUE].count("orders")
    return _answer(request, order)


@routes.get("/v2/orders")
async def orders(request: web.Request) -> web.Response:
    """Orders by status, time, side and symbols, in pages."""
    side = request.query.get("side")
    if side and side not in ("buy", "sell"):
        raise BadQuestion(f"invalid side: {side[:50]!r} is neither buy nor sell")
    yes(request, "nested")  # simple orders have no legs to nest
    found = request[ACCOUNT].orders(
        choice(request, "status", "open", ("open", "closed", "all")),  # type: ignore[arg-type]
        limit=whole(request, "limit", 50, 1, 500),
        after=when(request, "after"),
        until=when(request, "until"),
        direction=choice(request, "direction", "desc", ("asc", "desc")),  # type: ignore[arg-type]
        symbols=listed(request, "symbols") or None,
        side=Side(side) if side else None,
    )
    return web.json_response([wire.order(order) for order in found])


@routes.delete("/v2/orders")
async def cancel_all(request: web.Request) -> web.Response:
    """Cancel every open order; 207 with each one's own status."""
    rows = request[ACCOUNT].cancel_all()
    return web.json_response([{"id": row.id, "status": row.status} for row in rows], status=207)


@routes.get("/v2/orders:by_client_order_id")
async def order_by_client_id(request: web.Request) -> web.Response:
    """The order of a client order id."""
    client_order_id = request.query.get("client_order_id")
    if not client_order_id:
        raise invalid("client_order_id is required")
    return web.json_response(wire.order(request[ACCOUNT].order_by_client_id(client_order_id)))


@routes.get("/v2/orders/{order_id}")
async def order(request: web.Request) -> web.Response:
    """One order by the venue's id."""
    return web.json_response(wire.order(request[ACCOUNT].order(request.match_info["order_id"])))


@routes.patch("/v2/orders/{order_id}")
async def replace(request: web.Request) -> web.Response:
    """Replace an open order; the answer is the new one."""
    body = await json_object(request)
    change = OrderReplacement(
        quantity=amount(body, "qty"),
        time_in_force=word(TimeInForce, body, "time_in_force"),
        limit_price=amount(body, "limit_price"),
        stop_price=amount(body, "stop_price"),
        trail=amount(body, "trail"),
        client_order_id=text(body, "client_order_id"),
    )
    return _answer(request, request[ACCOUNT].replace(request.match_info["order_id"], change))


@routes.delete("/v2/orders/{order_id}")
async def cancel(request: web.Request) -> web.Response:
    """Cancel an open order: 204, and its end comes by the stream."""
    account, order_id = request[ACCOUNT], request.match_info["order_id"]
    request[CLIENT_ORDER_ID] = account.order(order_id).client_order_id
    account.cancel(order_id)
    return web.Response(status=204)


@routes.get("/v2/positions")
async def positions(request: web.Request) -> web.Response:
    """Every position."""
    return web.json_response([wire.position(position) for position in request[ACCOUNT].positions()])


@routes.get("/v2/positions/{symbol}")
async def position(request: web.Request) -> web.Response:
    """One position by symbol or asset id."""
    return web.json_response(wire.position(request[ACCOUNT].position(_symbol(request))))


@routes.delete("/v2/positions")
async def close_all(request: web.Request) -> web.Response:
    """Close every position, orders cancelled first if asked; 207 with each one's own status."""

    def body(result: VenueOrder | VenueError) -> Mapping[str, Any]:
        return result.body if isinstance(result, VenueError) else wire.order(result)

    rows = request[ACCOUNT].close_all(yes(request, "cancel_orders"))
    answer = [{"symbol": row.symbol, "status": row.status, "body": body(row.body)} for row in rows]
    return web.json_response(answer, status=207)


@routes.delete("/v2/positions/{symbol}")
async def close(request: web.Request) -> web.Response:
    """Close a position, or a part of it by shares or per cent."""
    quantity, percentage = (_positive(request, name) for name in ("qty", "percentage"))
    if quantity is not None and percentage is not None:
        raise invalid("only one of qty or percentage is accepted")
    order = request[ACCOUNT].close_position(_symbol(request), quantity=quantity, percentage=percentage)
    return _answer(request, order)


def _positive(request: web.Request, name: str) -> Decimal | None:
    value = amount(request.query, name)
    if value is not None and value <= 0:
        raise invalid(f"{name} must be > 0")
    return value


def _symbol(request: web.Request) -> str:
    """A symbol in upper case, or an asset's id as it is."""
    given = request.match_info["symbol"]
    return given if len(given) > 20 else given.upper()
