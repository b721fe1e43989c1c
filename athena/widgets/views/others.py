"""Brokers, commands and violations: what is connected, what was asked of the engine, what the guard refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from athena.analysis.style import MISSING, clock
from athena.core.rejections import violation
from athena.errors import GuardError
from athena.live.verdict import Code
from athena.ops.health import words
from athena.widgets.controls import Told, button, choice, column, html, put, row, text
from athena.widgets.parts import Table, cell
from athena.widgets.parts import column as heading
from athena.widgets.snapshot import aged

if TYPE_CHECKING:
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Row, Snapshot
    from athena.widgets.source import Job

STATES_SHOWN = 20


class BrokersView:
    """The broker as the engine's heartbeat tells it, and what happened to its streams."""

    title = "Brokers"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("brokers")
        self.table = Table(label="Brokers", caption="By the engine's heartbeat", empty="No engine has connected yet.")
        self.table.add_class("athena-brokers")
        self.table.columns = [
            heading("broker"), heading("part"), heading("state"), heading("up"), heading("latency", numeric=True),
            heading("requests left", numeric=True), heading("heard"), heading("why"),
        ]  # fmt: skip
        self.reason = text("why (recorded)", "Reason, recorded", "broker-reason", wide=True)
        self.reconnect = button("Reconnect", "Have the engine open its connections anew", "reconnect", self.told,
                                self._reconnect, style="warning")  # fmt: skip
        self.reconcile = button("Reconcile", "Have the engine compare its books with the venue now", "reconcile",
                                self.told, self._reconcile)  # fmt: skip
        self.ask = button("Ask the venue", "Ask the venue itself, past the engine", "broker-ask", self.told, self._ask)
        self.states = Table(label="Connection states", caption="What happened", empty="Nothing was recorded yet.")
        self.states.columns = [heading("at"), heading("broker"), heading("was"), heading("became"), heading("why")]
        self.box = column(self.table, row(self.reason, self.reconnect, self.reconcile, self.ask), self.told.widget,
                          self.states)  # fmt: skip

    def show(self, snapshot: Snapshot) -> None:
        """State, uptime, latency and headroom as of the last heartbeat; UNKNOWN when that is too old."""
        beat, engine = aged(snapshot.broker), aged(snapshot.engine)
        if beat is not None:
            fresh = beat.alive and engine is not None and engine.alive
            self.table.put(_broker_rows(beat.details, fresh, words(max(0.0, beat.age_seconds))))
        self.states.put([
            {"id": str(one["sequence"]), "cells": [
                cell(clock(datetime.fromisoformat(one["at"])), one["sequence"]), cell(one["broker"]),
                cell(one["previous"] or ""), cell(one["state"]), cell(one["reason"] or "")]}
            for one in snapshot.lists.broker_states[:STATES_SHOWN]
        ])  # fmt: skip

    def _reconnect(self) -> None:
        reason = self.reason.value

        def work(job: Job) -> None:
            self.room.desk.reconnect(reason, job.say)

        self.room.start("reconnect", "reconnect", self.told, work)

    def _reconcile(self) -> None:
        reason = self.reason.value

        def work(job: Job) -> None:
            self.room.desk.reconcile(reason, job.say)

        self.room.start("reconcile", "reconcile", self.told, work)

    def _ask(self) -> None:
        def work(job: Job) -> None:
            self.room.desk.ask_venue(job.say)

        self.room.start("ask the venue", "the venue, asked from here", self.told, work)


def _broker_rows(details: Mapping[str, Any], fresh: bool, heard: str) -> list[dict[str, Any]]:
    """The connection as a whole, then each stream; what is not fresh is UNKNOWN, with what was last known."""
    latency, left, most = (details.get(name) for name in ("latency_seconds", "rate_limit_remaining", "rate_limit"))
    up, name = details.get("uptime_seconds"), str(details.get("name", "broker"))
    whole = [
        cell("" if up is None or not fresh else words(float(up))),
        cell(MISSING if latency is None else f"{latency * 1000:.0f} ms", latency),
        cell(MISSING if left is None else f"{left} of {most}", left), cell(f"{heard} ago"),
        cell("; ".join(map(str, details.get("problems") or ()))),
    ]  # fmt: skip
    rows = [{"id": name, "cells": [cell(name), cell("all"), _state(details.get("state"), fresh), *whole]}]
    reasons = details.get("reasons") or {}
    for part, state in (details.get("streams") or {}).items():
        rest = [cell(""), cell(""), cell(""), cell(""), cell(str(reasons.get(part) or ""))]
        rows.append(
            {"id": f"{name} {part}", "cells": [cell(name), cell(f"{part} stream"), _state(state, fresh), *rest]}
        )
    return rows


def _state(state: Any, fresh: bool) -> dict[str, Any]:
    if not fresh:
        return cell(f"UNKNOWN (last known {state})", tone="unknown")
    return cell(str(state), tone="ok" if state == "connected" else "stop")


class CommandsView:
    """What was asked of the engine, by whom, and what it answered."""

    title = "Commands"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("commands")
        self.table = Table(label="Commands", caption="The newest first", empty="Nothing was asked of the engine yet.")
        self.table.add_class("athena-commands")
        self.table.columns = [
            heading("asked at"), heading("command"), heading("with"), heading("by"), heading("result"),
            heading("answer"), heading("took", numeric=True),
        ]  # fmt: skip
        self.box = column(self.table, self.told.widget)

    def show(self, snapshot: Snapshot) -> None:
        """The latest commands; one without an answer says so."""
        self.table.put([_command(one) for one in snapshot.lists.commands])


def _command(one: Row) -> dict[str, Any]:
    at = datetime.fromisoformat(one["requested_at"])
    took = (datetime.fromisoformat(one["finished_at"]) - at).total_seconds() if one["finished_at"] else None
    tone = {"done": "ok", "failed": "stop"}.get(one["status"], "attention")
    told = ", ".join(f"{key} {value}" for key, value in one["arguments"].items() if value)
    cells = [
        cell(clock(at), one["requested_at"]), cell(one["name"]), cell(told), cell(one["requested_by"]),
        cell(one["status"] if one["status"] != "requested" else "no answer yet", tone=tone),
        cell(str(one["result"].get("message", ""))), cell("" if took is None else f"{took:.2f} s", took),
    ]  # fmt: skip
    return {"id": one["id"], "cells": cells}


class ViolationsView:
    """What a rule refused or did: filtered, grouped by cause, and from each the way to its order."""

    title = "Violations"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("violations")
        self.filter = text("filter: symbol, code, words", "Show only lines with this text", "violations-filter",
                           wide=True)  # fmt: skip
        self.group = choice([("each", ""), ("by code", "code"), ("by symbol", "symbol"), ("by strategy", "strategy")],
                            "Group by", "violations-group")  # fmt: skip
        self.jump = button("Show its order", "Open the order's story", "violations-jump", self.told, self._jump)
        self.table = Table(label="Violations", selectable=True, empty="Nothing was refused.")
        self.table.add_class("athena-violations")
        self.fix = html(name="violation-fix")
        self.box = column(row(self.filter, self.group, self.jump), self.table, self.fix, self.told.widget)
        for widget, name in ((self.filter, "value"), (self.group, "value"), (self.table, "selected")):
            widget.observe(lambda _: self.room.redraw(self), name)

    def show(self, snapshot: Snapshot) -> None:
        """The latest that fit the filter, or their counts."""
        wanted = self.filter.value.strip().lower()
        found = [one for one in snapshot.lists.violations if wanted in " ".join(map(str, one.values())).lower()]
        self._orders = {str(one["sequence"]): str(one["client_order_id"] or "") for one in found}
        self.table.caption = f"{len(found)} of the latest {len(snapshot.lists.violations)}"
        if self.group.value:
            self.table.columns = [heading(self.group.value), heading("times", numeric=True), heading("latest")]
            self.table.put(_grouped(found, self.group.value))
        else:
            self.table.columns = [
                heading("at"), heading("code"), heading("symbol"), heading("strategy"), heading("observed"),
                heading("limit"), heading("times", numeric=True), heading("message"),
            ]  # fmt: skip
            self.table.put([_violation(one) for one in found])
        chosen = next((one for one in found if str(one["sequence"]) == self.table.selected), None)
        self.jump.disabled = chosen is None or not chosen["client_order_id"]
        put(self.fix, "" if chosen is None else _fix(chosen))

    def _jump(self) -> None:
        order = self._orders.get(self.table.selected, "")
        if not order:
            raise GuardError("no violation with an order is chosen.", "Choose a line in the table.")
        self.room.open("Positions & orders").select(order)


def _violation(one: Row) -> dict[str, Any]:
    cells = [
        cell(clock(datetime.fromisoformat(one["at"])), one["sequence"]), cell(one["code"]), cell(one["symbol"] or ""),
        cell(one["strategy"] or ""), cell(one["observed"] or ""), cell(one["limit_value"] or ""),
        cell(str(one["times"]), one["times"]), cell(one["message"]),
    ]  # fmt: skip
    return {"id": str(one["sequence"]), "cells": cells}


def _grouped(found: list[Row], by: str) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    latest: dict[str, Row] = {}
    for one in found:  # the newest is first
        key = str(one[by] or MISSING)
        counts[key] += int(one["times"])
        latest.setdefault(key, one)
    return [
        {"id": key, "cells": [cell(key), cell(f"{times:,}", times), cell(
            f"{clock(datetime.fromisoformat(latest[key]['at']))} {latest[key]['message']}", latest[key]["sequence"])]}
        for key, times in counts.most_common()
    ]  # fmt: skip


def _fix(one: Row) -> str:
    from html import escape

    try:
        row = violation(Code(one["code"])).row
    except (KeyError, ValueError):
        return ""
    return f"<p><b>What to do about {escape(one['code'])}:</b> {escape(row.recommended)}</p>"
