"""The controls the views share: wrapped buttons, and a place that says what became of a click, failures in red."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from athena.errors import ApprovalNeeded, AthenaError
from athena.widgets.parts import Panel
from athena.widgets.source import Job

LINES_SHOWN = 12
_STATES = {"running": ("unknown", "UNDER WAY"), "done": ("ok", "DONE"), "failed": ("stop", "FAILED")}


class Told:
    """What became of the last click of a view: under way, done, or failed with what to do. Never silent."""

    def __init__(self, name: str) -> None:
        self.widget = Panel()
        for css in ("athena-said", f"athena-said-{name}"):
            self.widget.add_class(css)
        self.job: Job | None = None
        self.state = ""

    def clear(self) -> None:
        self.job, self.state, self.widget.html = None, "", ""

    def done(self, line: str) -> None:
        self._write("ok", "DONE", line, ())

    def failed(self, error: BaseException) -> None:
        """Show an error in red with its next step; a request for approval is no failure, and says whom to ask."""
        if isinstance(error, ApprovalNeeded):
            self._write("attention", "WAITS FOR APPROVAL", error.message, (error.hint,))
        elif isinstance(error, AthenaError):
            self._write("stop", "REFUSED", error.message, (error.hint,))
        else:
            hint = "This is a defect: nothing more is known of what was done. Look at athena status."
            self._write("stop", "FAILED", f"{type(error).__name__}: {error}", (hint,))

    def show(self, job: Job) -> None:
        """The job as it stands."""
        self.job = job
        tone, word = _STATES[job.state]
        if job.state == "failed" and job.waits:
            tone, word = "attention", "WAITS FOR APPROVAL"
        lines = [*job.lines[-LINES_SHOWN:], *([f"Next: {job.hint}"] if job.hint else [])]
        self._write(tone, word, f"{job.title} ({job.seconds:.0f} s)", lines, job.link)

    def tick(self) -> None:
        """Let the seconds of a running job move."""
        if self.job is not None and self.job.state == "running":
            self.show(self.job)

    def _write(self, tone: str, word: str, head: str, lines: Any, link: str = "") -> None:
        self.state = word
        told = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
        told += f"<p>{link}</p>" if link else ""
        role = "alert" if tone == "stop" else "status"
        self.widget.html = (
            f'<div class="athena-told tone-{tone}" role="{role}"><p><b class="tag">{word}</b> {escape(head)}</p>'
            f"{told}</div>"
        )


def button(label: str, title: str, name: str, told: Told, act: Callable[[], None], *, style: str = "") -> Any:
    """A button that shows what its handler raises, and that does nothing while it is disabled, clicked or not."""
    made = widgets.Button(description=label, tooltip=title, button_style=style)
    made.add_class(f"athena-{name}")

    def clicked(_: Any) -> None:
        if made.disabled:
            return
        guarded(told, act)

    made.on_click(clicked)
    return made


def guarded(told: Told, act: Callable[[], None]) -> None:
    """Run a handler; whatever it raises is shown and not swallowed."""
    try:
        act()
    except Exception as error:
        told.failed(error)


def text(placeholder: str, title: str, name: str, *, wide: bool = False) -> Any:
    """A text field with a screen reader's label."""
    made = widgets.Text(placeholder=placeholder, tooltip=title, description_allow_html=False)
    made.layout.width = "auto" if wide else "11rem"
    for css in (f"athena-{name}", *(["athena-wide"] * wide)):
        made.add_class(css)
    return made


def choice(options: Any, title: str, name: str, width: str = "auto") -> Any:
    """A drop-down list."""
    made = widgets.Dropdown(options=options, tooltip=title, layout=widgets.Layout(width=width))
    made.add_class(f"athena-{name}")
    return made


def row(*children: Any) -> Any:
    """Controls beside each other that wrap on a narrow screen."""
    made = widgets.HBox(list(children))
    made.add_class("athena-controls")
    return made


def column(*children: Any) -> Any:
    """Controls below each other."""
    made = widgets.VBox(list(children))
    made.layout.overflow = "visible"
    return made


def html(value: str = "", name: str = "") -> Any:
    """Text of the views' own, in the pages' style."""
    made = widgets.HTML(value)
    made.add_class("athena")
    if name:
        made.add_class(f"athena-{name}")
    return made


def put(widget: Any, value: str) -> None:
    """Set a text only when it is another: what is the same is not sent."""
    if widget.value != value:
        widget.value = value


def choices(widget: Any, options: list[Any]) -> None:
    """Set a list's options, keeping what is chosen where it is still there."""
    if list(widget.options) == options:
        return
    kept = widget.value
    widget.options = options
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    if kept in values:
        widget.value = kept
