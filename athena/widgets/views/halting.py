"""HALT: everything, or one symbol or strategy, by the button that goes past the kernel; and the emergency stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from athena.widgets.controls import Told, button, choice, choices, column, put, row, text, html
from athena.widgets.halt_button import HaltButton

if TYPE_CHECKING:
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot
    from athena.widgets.source import Job

WORD = "STOP"


class HaltRow:
    """Always there, whatever view is open."""

    title = "Halt"

    def __init__(self, room: ControlRoom) -> None:
        import ipywidgets as widgets

        self.room, self.told = room, Told("halt")
        self.everything = HaltButton(room.settings)
        self.everything.add_class("athena-halt-all")
        self.target = choice([("a symbol or strategy …", "")], "Symbol or strategy to halt alone", "halt-target")
        self.one = widgets.VBox()
        self.one.add_class("athena-halt-one")
        self.target.observe(self._picked, "value")
        self.typed = text(f"type {WORD}", f"Type {WORD} to enable the emergency stop", "emergency-typed")
        self.typed.layout.width = "7rem"
        self.why = text("why (may be left out)", "Reason for the emergency stop", "emergency-reason")
        rehearse = button(
            "Rehearse", "Say what an emergency stop would do; changes nothing", "emergency-rehearse", self.told, self._rehearse
        )
        stop = button(
            "Emergency stop", "Halt, cancel everything at the venue, and have it refuse new orders", "emergency-stop",
            self.told, self._stop, style="danger",
        )  # fmt: skip
        note = html('<span class="soft">Emergency stop: halt, cancel all at the venue, suspend there.</span>')
        self.more = widgets.Accordion([row(note, rehearse, self.why, self.typed, stop)], titles=("Emergency stop",))
        self.more.selected_index = None
        self.more.add_class("athena-emergency")
        self.box = column(row(self.everything, self.target, self.one), self.more, self.told.widget)

    def show(self, snapshot: Snapshot) -> None:
        """Offer the symbols and strategies that the system has."""
        choices(self.target, [("a symbol or strategy …", ""), *targets(snapshot)])

    def _picked(self, change: Any) -> None:
        kind, _, name = str(change["new"] or "").partition(":")
        for old in self.one.children:
            old.close()
        self.one.children = (HaltButton(self.room.settings, kind, name),) if name else ()

    def _rehearse(self) -> None:
        def work(job: Job) -> None:
            self.room.desk.emergency("rehearsal", job.say, rehearsal=True)

        self.room.start("emergency rehearsal", "emergency stop, rehearsed: nothing is changed", self.told, work)

    def _stop(self) -> None:
        from athena.errors import SettingsError

        if self.typed.value.strip() != WORD:
            raise SettingsError(f"nothing was done: type {WORD} first.", "HALT itself needs no confirmation.")
        reason = self.why.value.strip() or "emergency stop in the control room"
        self.typed.value = ""

        def work(job: Job) -> None:
            self.room.desk.emergency(reason, job.say, rehearsal=False)

        self.room.start("emergency stop", "EMERGENCY STOP", self.told, work)


def targets(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The symbols and strategies known here, as (words, `symbol:AAPL` or `strategy:NAME`)."""
    engine = snapshot.engine.details if snapshot.engine else {}
    symbols = {str(symbol) for symbol in engine.get("symbols", ())}
    if snapshot.status:
        symbols |= {str(row["symbol"]) for row in (*snapshot.status.positions, *snapshot.status.open_orders)}
    strategies = sorted(engine.get("strategies") or ())
    return [(name, f"symbol:{name}") for name in sorted(symbols)] + [
        (f"strategy {name}", f"strategy:{name}") for name in strategies
    ]
