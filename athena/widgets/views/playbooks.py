"""Playbooks: a form made from the chosen one's parameters, a run in its own process, the verdict and its page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from athena.errors import PlaybookError
from athena.playbooks import parameters
from athena.playbooks.archive import Archive, Entry
from athena.playbooks.parameters import Kind, Parameter
from athena.playbooks.registry import PLAYBOOKS
from athena.widgets.controls import Told, button, choice, column, html, row, text
from athena.widgets.parts import Panel, Table, cell
from athena.widgets.parts import column as heading

if TYPE_CHECKING:
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot
    from athena.widgets.source import Job

REPORTS_MOST = 12
VERDICT_TONES = {"OK": "ok", "ATTENTION": "attention", "STOP": "stop"}


class PlaybooksView:
    """One playbook at a time; the latest reports below."""

    title = "Playbooks"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("playbooks")
        self.fields: dict[str, Any] = {}
        self._archived: float = -1
        self.pick = choice(
            [(f"{name}: {one.question}", name) for name, one in PLAYBOOKS.items()], "Playbook", "playbook"
        )
        self.pick.layout.width = "min(36rem, 100%)"
        self.about = html(name="playbook-about")
        self.form = widgets.VBox()
        self.form.add_class("athena-playbook-form")
        self.reason = text("why it is run", "Why it is run, recorded with the report", "playbook-reason", wide=True)
        self.bar = widgets.IntProgress(value=0, max=1, layout=widgets.Layout(width="12rem", visibility="hidden"))
        self.bar.add_class("athena-playbook-progress")
        self.run = button(
            "Run", "Run it headless, in its own process", "playbook-run", self.told, self._run, style="info"
        )
        self.reports = Table(label="Recent reports", selectable=True, caption="Recent reports: choose one for its link",
                             empty="No report was made yet.")  # fmt: skip
        self.reports.columns = [
            heading("made at"),
            heading("playbook"),
            heading("verdict"),
            heading("reason"),
            heading("by"),
        ]
        self.link = Panel()
        self.box = column(row(self.pick), self.about, self.form, row(self.reason, self.run, self.bar), self.told.widget,
                          self.reports, self.link)  # fmt: skip
        self.pick.observe(lambda _: self._make_form(), "value")
        self.reports.observe(lambda _: self.room.redraw(self), "selected")
        self._make_form()

    def show(self, snapshot: Snapshot) -> None:
        """The latest reports, read again when the archive's folder changed."""
        folder = self.room.settings.reports
        index = folder / "index.html"
        stamp = index.stat().st_mtime if index.exists() else 0.0
        if stamp != self._archived:
            self._archived = stamp
            archive = Archive(folder)
            entries = archive.entries()[:REPORTS_MOST] if folder.is_dir() else []
            self._paths = {f"{e.playbook} {e.finished_at}": archive.path(e, "html") for e in entries}
            self.reports.put([_report(key, e) for key, e in zip(self._paths, entries, strict=True)])
        chosen = self._paths.get(self.reports.selected)
        self.link.html = page_link(chosen, "Open the chosen report") if chosen else ""

    def _make_form(self) -> None:
        """One field a parameter, with its default, its choices and what it means."""
        playbook = PLAYBOOKS[self.pick.value]
        acts = "Reads only." if playbook.reads_only else "Can act: with dry_run off and the phrase its page shows."
        self.about.value = f'<p class="soft">{escape(playbook.answers)} {acts}</p>'
        self.fields = {one.name: _field(one) for one in playbook.parameters}
        self.form.children = [
            row(html(f'<label title="{escape(one.doc)}">{escape(one.name)}</label>'), self.fields[one.name],
                html(f'<span class="soft">{escape(one.doc)}</span>'))
            for one in playbook.parameters
        ]  # fmt: skip

    def _run(self) -> None:
        playbook = PLAYBOOKS[self.pick.value]
        given = {name: field.value for name, field in self.fields.items()}
        parameters.check(playbook.parameters, given)
        reason = self.reason.value.strip()

        def progress(cell_number: int, cells: int, label: str) -> None:
            self.bar.max, self.bar.value = max(1, cells), cell_number
            self.bar.layout.visibility = "visible"

        def work(job: Job) -> None:
            try:
                made = self.room.desk.run_playbook(playbook.name, given, reason, progress)
            finally:
                self.bar.layout.visibility = "hidden"
            job.link = page_link(made.html, f"Open the page of {playbook.name}")
            if not made.succeeded:
                raise PlaybookError(made.error, "Its page says at which cell.")
            job.say(f"{made.verdict}: {made.reason}")
            job.hint = made.action

        self.room.start(f"playbook {playbook.name}", f"{playbook.name}", self.told, work)


def _field(one: Parameter) -> Any:
    made: Any
    if one.choices:
        made = widgets.Dropdown(options=list(one.choices), value=one.default)
    elif one.kind is Kind.FLAG:
        made = widgets.Checkbox(value=bool(one.default), indent=False, layout=widgets.Layout(width="2rem"))
    else:
        made = widgets.Text(value=str(one.default), placeholder=str(one.kind))
    made.tooltip = f"{one.name}: {one.doc}"
    made.add_class(f"athena-parameter-{one.name}")
    return made


def _report(key: str, made: Entry) -> dict[str, Any]:
    word = made.verdict if made.succeeded else f"{made.verdict} (failed)"
    cells = [
        cell(made.finished_at[:16].replace("T", " ") + " UTC"), cell(made.playbook),
        cell(word, tone=VERDICT_TONES.get(made.verdict, "unknown")), cell(made.reason[:120]), cell(made.who),
    ]  # fmt: skip
    return {"id": key, "cells": cells}


def page_link(page: Path, words: str) -> str:
    """A link to a report, for a Panel: its front-end asks the server for a page that lies in the server's folder."""
    path, home = escape(str(page.resolve())), escape(str(Path.home()))
    return (
        f'<a class="athena-page" data-page="{path}" data-home="{home}" href="{escape(page.resolve().as_uri())}"'
        f' target="_blank" rel="noopener">{escape(words)}</a> <code>{path}</code>'
    )
