"""The control room: what an operator keeps open. `control_room(system)` as the last line of a cell.

Header and HALT are always there; below them one view at a time. Opening it again, in the same kernel, ends the room
that was there before. Where no notebook's front-end listens (papermill, nbmake) the state is shown once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.playbooks.books.system import System
from athena.widgets.desk import Desk
from athena.widgets.header import header
from athena.widgets.reading import Reader
from athena.widgets.snapshot import Snapshot
from athena.widgets.source import Job, Jobs, Source
from athena.widgets.style import CSS

_rooms: dict[Path, ControlRoom] = {}  # of this kernel, by journal


def control_room(system: System | None = None, *, live: bool | None = None) -> ControlRoom:
    """Open the control room of a live system, by default the settings'; `live` False shows its state once.

    By default it is live where a notebook's front-end started this kernel. Opening it anew ends the one before.
    """
    settings = system.settings if system is not None else Settings.load()
    path = (system.path if system is not None else settings.journal_path).resolve()
    if path in _rooms:
        _rooms.pop(path).stop()
    room = ControlRoom(settings, path, live=_front_end() if live is None else live)
    if room.live:
        _rooms[path] = room
        room.source.start()
    return room


def _front_end() -> bool:
    """Whether somebody can click here: a server started this kernel, and no runner did."""
    from athena.playbooks.kernel import headless

    return not headless() and any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID"))


class ControlRoom:
    """One live system's control room in one kernel; its `repr` is the state in words."""

    def __init__(self, settings: Settings, path: Path, *, live: bool = True, seconds: float = 1.0) -> None:
        self.settings, self.path, self.live = settings, path, live
        self.source = Source(Reader(settings, path), seconds)
        self.desk = Desk(settings, path, _notebook())
        self.jobs = Jobs(self.source.soon)
        self.views: tuple[Any, ...] = ()
        self._showing = threading.RLock()
        self._box: Any = None

    @property
    def snapshot(self) -> Snapshot:
        """The latest look."""
        return self.source.latest

    def stop(self) -> None:
        """End the thread, the connections and the widgets; what it showed stays as it was, and is marked stale."""
        self.jobs.stop()
        self.source.stop()
        self.desk.close()
        if self._box is not None:
            for widget in _all(self._box):
                widget.close()

    def start(self, key: str, title: str, told: Any, work: Callable[[Job], None]) -> Job:
        """Run an action in a thread, its progress told in the view; one with the same key runs only once at a time."""
        return self.jobs.start(key, title, work, told.show)

    # -------------------------------------------------------------------------------------------------------- showing

    def widget(self) -> Any:
        """All of it as one widget, made at the first call."""
        if self._box is None:
            self._box = self._build()
            self.source.subscribe(self._hear)
        return self._box

    def _build(self) -> Any:
        import ipywidgets as widgets

        from athena.widgets.parts import Panel
        from athena.widgets.views.halting import HaltRow
        from athena.widgets.views.limits import LimitsView
        from athena.widgets.views.orders import OrdersView
        from athena.widgets.views.others import BrokersView, CommandsView, ViolationsView
        from athena.widgets.views.playbooks import PlaybooksView
        from athena.widgets.views.resume import ResumeView

        self.panel = Panel()
        self.halting = HaltRow(self)
        kinds: tuple[Any, ...] = (
            ResumeView, OrdersView, LimitsView, PlaybooksView, BrokersView, CommandsView, ViolationsView,
        )  # fmt: skip
        self.views = tuple(kind(self) for kind in kinds)
        self.nav = widgets.ToggleButtons(options=[(view.title, n) for n, view in enumerate(self.views)], value=0)
        self.nav.add_class("athena-nav")
        self.place = widgets.VBox([self.views[0].box])
        self.place.add_class("athena-view")
        self.nav.observe(self._turn, "value")
        box = widgets.VBox([widgets.HTML(f"<style>{CSS}</style>"), self.panel, self.halting.box, self.nav, self.place])
        box.add_class("athena-room")
        return box

    def open(self, title: str) -> Any:
        """Turn to a view by its title; the view."""
        self.nav.value = next(n for n, view in enumerate(self.views) if view.title == title)
        return self.view

    def redraw(self, view: Any) -> None:
        """Have a view show the latest look again: something in it was chosen."""
        self._show(view, self.snapshot)

    @property
    def view(self) -> Any:
        """The view that is seen now."""
        return self.views[self.nav.value]

    def _turn(self, _: Any) -> None:
        self._show(self.view, self.snapshot)
        self.place.children = (self.view.box,)

    def _hear(self, snapshot: Snapshot) -> None:
        """A look: the header, HALT and the view that is seen; the hidden ones are told when they are turned to."""
        with self._showing:
            self.panel.html = header(snapshot)
            self.panel.beat += 1
            self._show(self.halting, snapshot)
            self._show(self.view, snapshot)

    def _show(self, view: Any, snapshot: Snapshot) -> None:
        """A view that cannot show a state says so in red; the others go on."""
        with self._showing:
            try:
                view.told.tick()
                view.show(snapshot)
            except Exception as error:
                view.told.failed(error)

    def __repr__(self) -> str:
        snapshot = self.snapshot
        if snapshot.status is None:
            trouble = snapshot.trouble
            return f"UNKNOWN: {trouble.what} {trouble.hint}" if trouble else "UNKNOWN"
        return str(snapshot.status.guard)

    def shown(self, below: str = "") -> str:
        """The state as HTML of its own, with nothing to click."""
        below = f'<p class="soft">{below}</p>' if below else ""
        return f'<style>{CSS}</style><div class="athena athena-room">{header(self.snapshot)}{below}</div>'

    def _repr_html_(self) -> str:
        return self.shown("Live controls need JupyterLab: open notebooks/control_room.ipynb there (make lab).")

    def _ipython_display_(self) -> None:
        from IPython.display import display as show

        display: Any = show
        if self.live:
            display(self.widget())
        else:
            display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)


def _notebook() -> str:
    """The notebook as the record names it."""
    from athena.widgets.halt_button import notebook_name

    return f"notebook {notebook_name()}" if notebook_name() else "a kernel without a notebook"


def _all(widget: Any) -> list[Any]:
    """A widget and everything inside it, the inside first."""
    found: list[Any] = []
    for child in getattr(widget, "children", ()):
        found += _all(child)
    return [*found, widget]
