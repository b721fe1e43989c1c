"""HALT: everything, or one symbol or strategy, by the button that goes past the kernel to the Jupyter server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from athena.widgets.controls import Told, choice, choices, column, row
from athena.widgets.halt_button import HaltButton

if TYPE_CHECKING:
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot

_NONE = ("halt one symbol or strategy …", "")


class HaltRow:
    """Always there, whatever view is open; the emergency stop with its rehearsal is the button's own."""

    title = "Halt"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("halt")
        self.everything = HaltButton(room.settings)
        self.everything.add_class("athena-halt-all")
        self.target = choice([_NONE], "Symbol or strategy to halt alone", "halt-target")
        self.one = column()
        self.one.add_class("athena-halt-one")
        self.target.observe(self._picked, "value")
        self.box = column(row(self.everything, column(self.target, self.one)), self.told.widget)
        self.box.add_class("athena-halting")  # above the header on a narrow screen

    def show(self, snapshot: Snapshot) -> None:
        """Offer the symbols and strategies that the system has."""
        choices(self.target, [_NONE, *targets(snapshot)])

    def _picked(self, change: Any) -> None:
        kind, _, name = str(change["new"] or "").partition(":")
        for old in self.one.children:
            old.close()
        self.one.children = (HaltButton(self.room.settings, kind, name),) if name else ()


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
