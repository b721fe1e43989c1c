"""Acting from a playbook: the exact effect first, then a typed confirmation, then the truth read back.

plan = trading_halt.plan(system, symbol)
plan                                                     # the effect, and the phrase to type
outcome = plan.act(dry_run=dry_run, confirm=confirm)     # nothing, unless dry_run is False and the phrase fits
record(outcome.report)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from html import escape

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Verdict
from athena.errors import AthenaError
from athena.playbooks.books.system import System

SHOWN, REFUSED, DONE, FAILED = "SHOWN", "REFUSED", "DONE", "FAILED"
_VERDICTS = {SHOWN: Verdict.UNKNOWN, REFUSED: Verdict.ATTENTION, DONE: Verdict.OK, FAILED: Verdict.STOP}


@dataclass(frozen=True)
class Truth:
    """What was read back after acting: whether it is as wanted, and in which words."""

    holds: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One action, not yet taken. `phrase` names this very state: another state needs another phrase.

    do: takes the action and says what was done. read: reads the truth afterwards. again: assesses anew. blocked: why
    nothing can be done now, in words.
    """

    title: str
    effect: tuple[str, ...]
    phrase: str
    do: Callable[[], Sequence[str]]
    read: Callable[[], Truth]
    again: Callable[[], Assessment]
    blocked: str = ""

    def act(self, *, dry_run: bool, confirm: str) -> Outcome:
        """Do it if `dry_run` is False and `confirm` is the phrase; else say why not. An error is an outcome."""
        if dry_run:
            lines = ["Nothing was done: dry_run is True.", *self.effect]
            return Outcome(self.title, SHOWN, tuple(lines), self.again())
        if self.blocked or confirm.strip() != self.phrase:
            typed = f"confirm is '{confirm}'; it must be '{self.phrase}', which names the state shown above."
            why = self.blocked or typed
            return Outcome(self.title, REFUSED, (f"Nothing was done: {why}",), _with(self.again(), REFUSED, why))
        try:
            done = list(self.do())
        except AthenaError as error:
            lines = [f"Failed: {error.message}", error.hint, *self._truth().lines]
            return Outcome(self.title, FAILED, tuple(filter(None, lines)), _with(self.again(), FAILED, error.message))
        truth = self._truth()
        state = DONE if truth.holds else FAILED
        told = "; ".join(truth.lines)
        return Outcome(self.title, state, (*done, *truth.lines), _with(self.again(), state, told))

    def _truth(self) -> Truth:
        try:
            return self.read()
        except AthenaError as error:
            return Truth(False, (f"The truth cannot be read back: {error.message}",))

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{style.marked(line)}</li>" for line in self.effect)
        how = f"To do it: <code>dry_run=False, confirm={escape(repr(self.phrase))}</code>"
        if self.blocked:
            how = f"It cannot be done now: {escape(self.blocked)}"
        head = f"<h2>What exactly would happen?</h2><p>{escape(self.title)}</p>"
        return f'<div class="athena">{head}<ul>{lines}</ul><p>{how}</p></div>'

    def __repr__(self) -> str:
        return "\n".join(
            [self.title, *(f"  {line}" for line in self.effect), self.blocked or f"confirm={self.phrase!r}"]
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a plan, the truth read back, and the assessment as it is now."""

    title: str
    state: str
    lines: tuple[str, ...]
    report: Assessment

    def _repr_html_(self) -> str:
        tone = str(_VERDICTS[self.state]).lower()
        lines = "".join(f"<p>{style.marked(line)}</p>" for line in self.lines)
        return (
            f'<style>{style.CSS}</style><div class="athena"><h2>What was done?</h2><div class="verdict tone-{tone}">'
            f'<p><b class="tag tone-{tone}">{self.state}</b> {escape(self.title)}</p>{lines}</div></div>'
        )

    def __repr__(self) -> str:
        return "\n".join([f"{self.state}: {self.title}", *(f"  {line}" for line in self.lines)])


def phrase(words: str, *state: object) -> str:
    """The words with four digits that change with the state, so that a confirmation is of what was seen."""
    return f"{words} {blake2b(repr(state).encode(), digest_size=2).hexdigest()}"


def own_journal(system: System) -> str:
    """Why this journal cannot be worked with from here; "" where it can."""
    if system.opened is None:
        return system.problem
    if system.settings.journal_path.resolve() != system.path.resolve():
        return f"{system.path.name} is no live system's journal.sqlite3: a copy is only read."
    return ""


def own_settings(system: System) -> str:
    """Why this system cannot be acted upon from here, its venue included; "" where it can."""
    if why := own_journal(system):
        return why
    if system.venue != system.settings.venue:
        return f"this process has no key for {system.venue}."
    return ""


def _with(report: Assessment, state: str, told: str) -> Assessment:
    """The assessment with what was done among its findings; an action that failed decides the verdict."""
    verdict = _VERDICTS[state]
    reason = f"The action was {state.lower()}: {told}"
    finding = Finding("Was the action taken?", verdict, state, DONE, reason, "Read what was done, then look again.")
    facts = {**report.facts, "action": state, "action_told": told}
    if verdict.severity <= report.verdict.severity:
        return replace(report, findings=(*report.findings, finding), facts=facts)
    return replace(
        report, findings=(*report.findings, finding), facts=facts, verdict=verdict, reason=reason, action=finding.action
    )
