"""Limits: every one with unit and headroom, the effect of a change before it is made, who changed what, and undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from athena.analysis.style import clock
from athena.errors import GuardError, SettingsError, did_you_mean
from athena.live.limits import LIMITS, Value, parse, show
from athena.widgets.controls import Told, button, choice, choices, column, html, put, row, text
from athena.widgets.header import FULL, NEAR
from athena.widgets.parts import Table, cell
from athena.widgets.parts import column as heading
from athena.widgets.views.halting import targets
from athena.widgets.what_if import effect

if TYPE_CHECKING:
    from athena.live.guard_status import LimitLine
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot
    from athena.widgets.source import Job


class LimitsView:
    """A table of limits, an editor for the one that is chosen, and the changes made so far."""

    title = "Limits"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("limits")
        self._shown: tuple[Value] | None = None
        self._lines: dict[str, LimitLine] = {}
        self.table = Table(label="Limits", selectable=True, caption="Choose a limit to change it")
        self.table.add_class("athena-limits")
        self.table.columns = [
            heading("limit"), heading("for"), heading("value", numeric=True), heading("used", numeric=True),
            heading("left", numeric=True),
        ]  # fmt: skip
        self.name = text("limit", "Name of the limit", "limit-name", wide=True)
        self.target = choice([("everything", "")], "For everything, a symbol or a strategy", "limit-target")
        self.value = text("new value", "New value, in the limit's unit, or off", "limit-value")
        self.reason = text("why", "Reason for the change, recorded", "limit-reason", wide=True)
        self.help = html(name="limit-help")
        self.try_it = button("Effect on today", "What this would have refused today; changes nothing", "limit-effect",
                             self.told, self._effect)  # fmt: skip
        self.apply = button("Apply", "Change the limit from the next order on", "limit-apply", self.told, self._apply,
                            style="warning")  # fmt: skip
        self.undo = button("Undo", "Set the chosen change back, as a new change", "limit-undo", self.told, self._undo)
        self.history = Table(label="Changes of limits", selectable=True, caption="Changes, the newest first",
                             empty="No limit was changed yet.")  # fmt: skip
        self.history.columns = [
            heading("at"), heading("limit"), heading("for"), heading("from"), heading("to"), heading("by"),
            heading("why"),
        ]  # fmt: skip
        self.box = column(
            self.table, row(self.name, self.target, self.value, self.reason, self.try_it, self.apply), self.help,
            self.told.widget, self.history, row(self.undo),
        )  # fmt: skip
        self.table.observe(self._picked, "selected")
        self.name.observe(lambda _: self._hold(), "value")
        self.target.observe(lambda _: self._hold(), "value")

    def show(self, snapshot: Snapshot) -> None:
        """The limits and their changes; what is being typed is left alone."""
        lines = snapshot.status.guard.limits if snapshot.status else ()
        self._lines = {f"{line.name}|{line.target}": line for line in lines}
        self.table.put([_row(line) for line in lines])
        choices(self.target, [("everything", ""), *targets(snapshot)])
        changes = snapshot.lists.limit_changes
        self.history.put([_change(change) for change in changes])
        self._changes = {str(change["sequence"]): change for change in changes}
        self.undo.disabled = not self.history.selected
        put(self.help, self._help())

    def _picked(self, change: Any) -> None:
        name, _, target = change["new"].partition("|")
        if name:
            line = self._lines[change["new"]]
            if target not in dict(self.target.options).values():
                self.target.options = [*self.target.options, (target.replace(":", " "), target)]
            self.name.value, self.target.value = name, target
            self.value.value = "" if line.value is None else show(name, line.value)
            self._hold()

    def _hold(self) -> None:
        """Remember what is shown as the limit's value: a change is made from that, or refused."""
        line = self._lines.get(f"{self.name.value.strip()}|{self.target.value or ''}")
        name = self.name.value.strip()
        unset = (LIMITS[name].default,) if name in LIMITS else None  # of a target without a value of its own
        self._shown = unset if line is None else (line.value,)
        put(self.help, self._help())

    def _help(self) -> str:
        from html import escape

        name = self.name.value.strip()
        if not name:
            return ""
        if name not in LIMITS:
            hint = did_you_mean(name, LIMITS, "The table above lists them.")
            return f'<p class="tone-stop"><b class="tag">no such limit</b> {escape(hint)}</p>'
        limit = LIMITS[name]
        line = self._lines.get(f"{name}|{self.target.value or ''}")
        now = "not set for this target" if line is None else show(name, line.value)
        moved = line is not None and self._shown is not None and line.value != self._shown[0]
        changed = '<b class="tag tone-stop">changed elsewhere since you chose it</b> ' if moved else ""
        return (
            f"<p>{changed}now <b>{escape(now)}</b>; unit {escape(limit.unit.value)}"
            f'{", or off" if limit.optional else ""}. <span class="soft">Compares {escape(limit.compares)}.</span></p>'
        )

    def _asked(self) -> tuple[str, str, str]:
        """Name, value and target as typed. Raises GuardError or SettingsError with the nearest name, or the bounds."""
        name, value, target = self.name.value.strip(), self.value.value.strip(), self.target.value or ""
        if not name:
            raise SettingsError("no limit is named.", "Choose one in the table.")
        if name in LIMITS and not value:
            raise SettingsError(f"{name} needs a value.", LIMITS[name].compares)
        parse(name, value, target=target)
        return name, value, target

    def _effect(self) -> None:
        name, value, target = self._asked()

        def work(job: Job) -> None:
            for line in effect(self.room.path, name, value, target).lines:
                job.say(line)

        self.room.start("effect", f"effect of {name} {value}", self.told, work)

    def _apply(self) -> None:
        name, value, target = self._asked()
        reason = self.reason.value
        if self._shown is None:
            self._hold()
        seen = (self._shown or (LIMITS[name].default,))[0]

        def work(job: Job) -> None:
            made = self.room.desk.set_limit(name, value, target, reason, seen)
            job.say(f"{name} is {show(name, made)} now, from the next order on")
            self._shown = (made,)

        self.room.start(f"limit {name} {target} {value}", f"{name} to {value}", self.told, work)

    def _undo(self) -> None:
        change = self._changes.get(self.history.selected)
        if change is None:
            raise GuardError("no change is chosen.", "Choose one in the list of changes.")
        reason = self.reason.value

        def work(job: Job) -> None:
            made = self.room.desk.undo_limit(change, reason)
            job.say(f"{change['name']} is {show(change['name'], made)} again; the undo is a change of its own")

        self.room.start(f"undo {change['sequence']}", f"undo of {change['name']}", self.told, work)


def _row(line: LimitLine) -> dict[str, Any]:
    ratio = line.ratio
    tone = "" if ratio is None else "ok" if ratio < NEAR else "attention" if ratio < FULL else "stop"
    left = "" if ratio is None else f"{'▰' * round(8 * min(1, ratio)):▱<8} {max(0.0, 1 - ratio):.0%} left"
    value = float(line.value) if LIMITS[line.name].is_number and line.value is not None else None  # type: ignore[arg-type]
    cells = [
        cell(line.name),
        cell(line.target.replace(":", " ") or "everything"),
        cell(show(line.name, line.value), value),
        cell(line.use, float(line.used) if line.used else -1.0),
        cell(left, -1.0 if ratio is None else ratio, tone),
    ]
    return {"id": f"{line.name}|{line.target}", "cells": cells}


def _change(change: Any) -> dict[str, Any]:
    name = str(change["name"])

    def said(value: Any) -> str:
        if name not in LIMITS:
            return str(value)
        return show(name, parse(name, value))

    who = str(change.get("by") or change["actor"])
    cells = [
        cell(clock(change["at"]), change["sequence"]), cell(name),
        cell(str(change.get("target") or "everything").replace(":", " ")), cell(said(change.get("previous"))),
        cell(said(change["value"])), cell(who), cell(str(change.get("reason") or "")),
    ]  # fmt: skip
    return {"id": str(change["sequence"]), "cells": cells}
