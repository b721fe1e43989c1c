"""An operator's answers to a checklist: read from a parameter or a widget, journaled as notes, read back by day.

answers="limits=yes; strategies=no: breakout's window is stale"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from athena.analysis.checklist import Answer, Question
from athena.errors import AthenaError, SettingsError, did_you_mean
from athena.journal import Journal
from athena.model import trading_date
from athena.playbooks.books.system import System
from athena.playbooks.kernel import headless

_WORDS = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def day_of(system: System) -> date:
    """The New York date a checklist speaks of: the venue's today, else the journal's latest day."""
    now = system.venue_now
    return trading_date(now) if now else (system.day or trading_date(system.read_at))


def parse(text: str, questions: Sequence[Question]) -> dict[str, tuple[bool, str]]:
    """`key=yes; key=no: words` as answers; raises SettingsError naming what is not one."""
    known = [question.key for question in questions]
    found: dict[str, tuple[bool, str]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, rest = (piece.strip() for piece in part.partition("="))
        word, _, words = (piece.strip() for piece in rest.partition(":"))
        if key not in known:
            raise SettingsError(
                f"'{key}' is not a question of this checklist.", did_you_mean(key, known, ", ".join(known))
            )
        if not equals or word.lower() not in _WORDS:
            raise SettingsError(f"'{part}' is no answer.", f"Write {key}=yes or {key}=no: why.")
        found[key] = (_WORDS[word.lower()], words)
    return found


def given(system: System, playbook: str) -> dict[str, Answer]:
    """The latest answer to each question of this checklist, today."""
    today, found = day_of(system).isoformat(), {}
    for event in system.journal.events(kinds=("note",)):
        said = event.payload
        if said.get("playbook") == playbook and said.get("trading_date") == today:
            found[said["question"]] = Answer(bool(said["answer"]), str(said.get("words") or ""), event.actor, event.at)
    return found


def journal_answers(system: System, playbook: str, answers: Mapping[str, tuple[bool, str]]) -> int:
    """Append a note for each answer that is news; returns how many. Raises JournalError."""
    before = given(system, playbook)
    news = {k: v for k, v in answers.items() if k not in before or (before[k].yes, before[k].words) != v}
    if news:
        day = day_of(system)
        with Journal.open(system.path, f"operator {system.settings.operator}") as journal:
            for key, (yes, words) in news.items():
                text = f"{playbook} {day}: {key} {'yes' if yes else 'no'}{': ' + words if words else ''}"
                payload = {
                    "text": text,
                    "playbook": playbook,
                    "trading_date": day.isoformat(),
                    "question": key,
                    "answer": yes,
                    "words": words,
                }
                journal.append("note", payload, system.venue_now)
    return len(news)


class Ask:
    """The open questions: buttons by hand, and headless the parameter that answers them."""

    def __init__(self, system: System, playbook: str, questions: Sequence[Question]) -> None:
        self.system, self.playbook, self.questions = system, playbook, tuple(questions)

    @property
    def open(self) -> list[Question]:
        """Questions without an answer today; none where the journal cannot be read."""
        try:
            answered = given(self.system, self.playbook)
        except AthenaError:
            return []
        return [question for question in self.questions if question.key not in answered]

    def answer(self, key: str, yes: bool, words: str = "") -> str:
        """Journal one answer; says in words what became of it, failures included."""
        try:
            journal_answers(self.system, self.playbook, {key: (yes, words)})
        except AthenaError as error:
            return f"NOT recorded: {error.message}"
        return f"recorded: {'yes' if yes else 'no'}{': ' + words if words else ''}"

    def __repr__(self) -> str:
        if self.system.opened is None:
            return f"No answer can be recorded: {self.system.problem}"
        left = self.open
        if not left:
            return "Every question is answered today."
        example = "; ".join(f"{question.key}=yes" for question in left)
        return f'To answer: answers="{example}" (or key=no: why). Run the playbook again afterwards.'

    def _ipython_display_(self) -> None:
        from IPython.display import display as show

        display: Any = show
        if headless() or self.system.opened is None or not self.open:
            display(
                {"text/html": f'<div class="athena"><p>{escape(repr(self))}</p></div>', "text/plain": repr(self)},
                raw=True,
            )
            return
        for question in self.open:
            display(_buttons(self, question))


def _buttons(ask: Ask, question: Question) -> Any:
    import ipywidgets as widgets

    words = widgets.Text(placeholder=question.hint, layout=widgets.Layout(width="22rem"))
    said = widgets.HTML()
    buttons = [widgets.Button(description=label, layout=widgets.Layout(width="4rem")) for label in ("Yes", "No")]

    def clicked(button: Any) -> None:
        said.value = escape(ask.answer(question.key, button.description == "Yes", words.value.strip()))

    for button in buttons:
        button.on_click(clicked)
    return widgets.HBox(
        [widgets.HTML(escape(question.text), layout=widgets.Layout(width="26rem")), *buttons, words, said]
    )
