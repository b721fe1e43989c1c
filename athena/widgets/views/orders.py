"""Positions and orders: sorted as you like; cancel one or all, close one on a typed phrase, an order's whole story."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from athena.analysis.style import MISSING, clock
from athena.core.order_story import order_story
from athena.errors import GuardError
from athena.journal.journal import Journal
from athena.model import OrderStatus
from athena.widgets.controls import Told, button, choice, column, html, put, row, text
from athena.widgets.parts import Table, cell
from athena.widgets.parts import column as heading

if TYPE_CHECKING:
    from athena.widgets.desk import Plan
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot
    from athena.widgets.source import Job

FINAL = frozenset(status.value for status in OrderStatus if status.is_final)
TONES = {"filled": "ok", "refused": "attention", "rejected": "stop", "unknown": "stop", "not_sent": "attention"}
ALL = "all orders"
_KNOWN = frozenset({"client_order_id", "symbol", "strategy", "quantity", "side", "type", "status"})


class OrdersView:
    """What is held, what is open, what was ordered today."""

    title = "Positions & orders"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("orders")
        self.plan: tuple[str, Plan] | None = None
        self._detailed: tuple[str, ...] = ("",)
        self.positions = Table(label="Positions", selectable=True, caption="Positions", empty="No position is held.")
        self.positions.add_class("athena-positions")
        self.positions.columns = [
            heading("symbol"), heading("shares", numeric=True), heading("average price", numeric=True),
            heading("worth", numeric=True), heading("unrealised P&L", numeric=True),
        ]  # fmt: skip
        self.reason = text("why (recorded)", "Reason, recorded with what you do here", "orders-reason", wide=True)
        self.typed = text("type the phrase", "The phrase shown, typed", "close-typed")
        self.close = button("Close position", "Close the chosen position at market, as an operator's exit",
                            "close-position", self.told, self._close, style="danger")  # fmt: skip
        self.effect = html(name="close-effect")
        self.which = choice(["open", "today"], "Open orders, or all of the day", "orders-which")
        self.orders = Table(label="Orders", selectable=True, empty="No order is open.")
        self.orders.add_class("athena-orders")
        self.orders.columns = [
            heading("at"), heading("symbol"), heading("side"), heading("shares", numeric=True),
            heading("filled", numeric=True), heading("limit", numeric=True), heading("price", numeric=True),
            heading("status"), heading("strategy"), heading("order"),
        ]  # fmt: skip
        self.cancel = button(
            "Cancel order", "Cancel the chosen order at the venue", "cancel-order", self.told, self._cancel
        )
        self.cancel_all = button("Cancel all", "Cancel every open order at the venue", "cancel-all", self.told,
                                 self._cancel_all, style="warning")  # fmt: skip
        self.story = html(name="order-story")
        self.box = column(
            self.positions, row(self.reason, self.typed, self.close), self.effect, row(self.which, self.cancel,
            self.cancel_all), self.orders, self.told.widget, self.story,
        )  # fmt: skip
        for widget, name in ((self.positions, "selected"), (self.orders, "selected"), (self.which, "value")):
            widget.observe(lambda _: self.room.redraw(self), name)

    def show(self, snapshot: Snapshot) -> None:
        """Both tables, the effect of closing what is chosen, and the chosen order's story."""
        status = snapshot.status
        if status is None:
            return
        unsure = " · UNKNOWN, as last known" if status.positions_unsure_since else ""
        self.positions.caption = f"{len(status.positions)} positions{unsure}"
        self.positions.put([_position(one) for one in status.positions])
        today = snapshot.lists.orders if self.which.value == "today" else status.open_orders
        self.orders.caption = f"{len(today)} orders, {self.which.value}"
        self.orders.put([_order(one) for one in today])
        chosen = next((one for one in today if one["client_order_id"] == self.orders.selected), None)
        self.cancel.disabled = chosen is None or str(chosen["status"]) in FINAL
        self.cancel_all.disabled = not status.open_orders
        self._plan(snapshot)
        self._tell(chosen)

    def select(self, client_order_id: str) -> None:
        """Show one order of the day with its story; another view jumps here."""
        self.which.value = "today"
        self.room.redraw(self)
        self.orders.selected = client_order_id
        self._detailed = ("",)
        put(self.story, self._story(client_order_id))

    def _plan(self, snapshot: Snapshot) -> None:
        symbol = self.positions.selected
        self.plan = (symbol, self.room.desk.close_plan(symbol, snapshot)) if symbol else None
        self.close.disabled = self.plan is None
        if self.plan is None:
            put(self.effect, "")
            return
        effect = "".join(f"<li>{escape(line)}</li>" for line in self.plan[1].effect)
        phrase = escape(self.plan[1].phrase)
        put(self.effect, f'<ul class="athena-lines">{effect}</ul><p>To confirm, type <code>{phrase}</code></p>')

    def _tell(self, chosen: Mapping[str, Any] | None) -> None:
        """The chosen order's story, read again when something happened to it."""
        if chosen is None:
            return
        wanted = tuple(str(chosen[name]) for name in ("client_order_id", "status", "filled_quantity"))
        if wanted != self._detailed:
            self._detailed = wanted
            put(self.story, self._story(wanted[0]))

    def _story(self, client_order_id: str) -> str:
        with Journal.open(self.room.path, "control room", read_only=True) as journal:
            events = order_story(journal, client_order_id)
        lines = "".join(
            f"<li><b>{escape(one['kind'])}</b> {clock(datetime.fromisoformat(one['at']))} ET, event {one['sequence']}, "
            f"{escape(one['actor'])}: {escape(_facts(one['payload']))}</li>"
            for one in events
        )
        return f'<p><b>{escape(client_order_id)}</b></p><ol class="athena-lines">{lines}</ol>'

    def _close(self) -> None:
        if self.plan is None:
            raise GuardError("no position is chosen.", "Choose one in the table.")
        symbol, plan = self.plan
        reason, typed = self.reason.value, self.typed.value
        self.typed.value = ""

        def work(job: Job) -> None:
            now = self.room.source.refresh()
            self.room.desk.close_position(plan, symbol, now, reason, typed, job.say)

        self.room.start(f"close {symbol}", f"close {symbol}", self.told, work)

    def _cancel(self) -> None:
        order, reason = self.orders.selected, self.reason.value
        if not order:
            raise GuardError("no order is chosen.", "Choose one in the table.")

        def work(job: Job) -> None:
            self.room.desk.cancel(order, reason, job.say)

        self.room.start(f"cancel {order}", f"cancel {order}", self.told, work)

    def _cancel_all(self) -> None:
        reason = self.reason.value

        def work(job: Job) -> None:
            self.room.desk.cancel_all(reason, job.say)

        self.room.start("cancel all", f"cancel {ALL}", self.told, work)


def _position(one: Mapping[str, Any]) -> dict[str, Any]:
    gain = one["unrealised_pnl"]
    tone = "" if gain is None else "stop" if float(gain) < 0 else "ok"
    cells = [cell(one["symbol"]), _number(one["quantity"]), _number(one["average_entry_price"]),
             _number(one["market_value"], 2), _number(gain, 2) | {"tone": tone}]  # fmt: skip
    return {"id": one["symbol"], "cells": cells}


def _order(one: Mapping[str, Any]) -> dict[str, Any]:
    at, status = datetime.fromisoformat(one["intended_at"]), str(one["status"])
    cells = [
        cell(clock(at), one["intended_at"]), cell(one["symbol"]), cell(one["side"]), _number(one["quantity"]),
        _number(one["filled_quantity"]), _number(one["limit_price"]), _number(one.get("average_fill_price")),
        cell(status, tone=TONES.get(status, "")), cell(one["strategy"] or ""), cell(one["client_order_id"]),
    ]  # fmt: skip
    return {"id": one["client_order_id"], "cells": cells}


def _number(text: Any, places: int | None = None) -> dict[str, Any]:
    """An amount as the journal has it, sorted by its value; missing or nonsense sorts last."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return cell(MISSING if text is None else str(text), -1e308)
    if places is not None:
        return cell(f"{value:,.{places}f}".replace("-", "−"), value)
    return cell(f"{value:,.4f}".rstrip("0").rstrip(".").replace("-", "−"), value)


def _facts(payload: Mapping[str, Any]) -> str:
    """What an event says beyond what the whole order says."""
    said = [f"{payload['status']}"] if "status" in payload else []
    said += [f"{key} {value}" for key, value in payload.items() if key not in _KNOWN and value not in (None, "", "0")]
    return ", ".join(said)
