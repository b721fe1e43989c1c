"""How every playbook tells its answer: the matrix with its fired rows, every section, one verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import pandas as pd

from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.tables import Column, Table
from athena.core.decisions import Decision
from athena.errors import AthenaError, SettingsError
from athena.playbooks.books.system import System

P = ParamSpec("P")
Questions = Mapping[str, str]
Assess = Callable[Concatenate[System, P], Assessment]


def answers(title: str, questions: Questions) -> Callable[[Assess[P]], Assess[P]]:
    """Makes a playbook's `assess(system, ...)` end with a verdict: what cannot be read is UNKNOWN, with its reason.

    A parameter that means nothing (SettingsError) still is an error.
    """

    def decorate(assess: Assess[P]) -> Assess[P]:
        @wraps(assess)
        def answer(system: System, *args: P.args, **kwargs: P.kwargs) -> Assessment:
            if system.problem:
                return unknown(title, questions, system, system.problem, system.hint)
            try:
                return assess(system, *args, **kwargs)
            except SettingsError:
                raise
            except AthenaError as error:
                return unknown(title, questions, system, error.message, error.hint)
            except ValueError as error:
                return unknown(title, questions, system, f"{str(error)[:1].upper()}{str(error)[1:]}.")

        return answer  # type: ignore[return-value]  # wraps() forgets that `system` may be named

    return decorate


def answer(
    title: str,
    questions: Questions,
    system: System,
    findings: Sequence[Finding],
    sections: Mapping[str, Section],
    numbers: Mapping[str, Any],
    all_well: str,
    action: str = "Nothing to do.",
) -> Assessment:
    """The assessment of these findings; a question without its section says that it is not known."""
    verdict, reason, then = conclude(findings, all_well, action)
    whole = {key: sections.get(key) or Section(question, "Not known.") for key, question in questions.items()}
    as_of = system.venue_now or system.read_at
    return Assessment(title, verdict, reason, then, as_of, tuple(findings), whole, dict(numbers), system.facts)


def unknown(title: str, questions: Questions, system: System, reason: str, action: str = "") -> Assessment:
    """An answer that could not be had: UNKNOWN, and every section says why."""
    action = action or "Mend what is named here, then run this again."
    sections = {key: Section(question, f"Not known. {reason}") for key, question in questions.items()}
    finding = Finding("Can this be answered?", Verdict.UNKNOWN, "no", "yes", reason, action)
    return Assessment(title, Verdict.UNKNOWN, reason, action, system.read_at, (finding,), sections, {}, system.facts)


def reframe(found: Assessment, title: str, questions: Questions, system: System, *more: Finding) -> Assessment:
    """An analysis' own assessment under the playbook's questions, with this system's facts and further findings."""
    told = answer(
        title, questions, system, [*found.findings, *more], found.sections, found.numbers, found.reason, found.action
    )
    return Assessment(
        title,
        told.verdict,
        told.reason,
        told.action,
        found.as_of or told.as_of,
        told.findings,
        told.sections,
        found.numbers,
        {**system.facts, **{key: value for key, value in found.facts.items() if value is not None}},
    )


def of_decision(check: str, decision: Decision, *, reason: str = "") -> Finding:
    """A matrix' fired row as a finding."""
    row = decision.row
    verdict = Verdict(row.severity.value)
    told = reason or (f"{decision.subject[:1].upper()}{decision.subject[1:]}." if verdict is not Verdict.OK else "")
    return Finding(check, verdict, decision.subject, row.when, told, row.recommended, dict(decision.inputs))


def matrix(decisions: Sequence[Decision], *, only_fired: bool = False) -> Table:
    """One matrix, the rows that fired marked with what they fired on; all decisions are of the same matrix."""
    fired: dict[str, list[str]] = {}
    for decision in decisions:
        fired.setdefault(decision.row.key, []).append(decision.subject)
    rows = [
        [
            "▶" if row.key in fired else "",
            row.severity.value,
            row.when,
            row.recommended,
            row.automatic,
            _several(fired.get(row.key, [])),
        ]
        for row in (decisions[0].rows if decisions else ())
        if not only_fired or row.key in fired
    ]
    names = ["fired", "verdict", "when", "recommended", "automatic", "on"]
    labels = ("Fired", "", "When", "Recommended", "By itself", "On")
    frame = pd.DataFrame(rows, columns=names).sort_values("fired", ascending=False, kind="stable", ignore_index=True)
    title = f"Decision matrix: {decisions[0].matrix.lower()}" if decisions else "Decision matrix"
    columns = [Column(name, label) for name, label in zip(names, labels, strict=True)]
    return Table(title, frame, columns, cards=True)


def _several(subjects: list[str]) -> str:
    return "; ".join(subjects[:3]) + (f"; and {len(subjects) - 3} more" if len(subjects) > 3 else "")


def table(caption: str, rows: Sequence[Sequence[Any]], *columns: Column, empty: str = "None.", **options: Any) -> Table:
    """A table from plain rows, one value a column."""
    frame = pd.DataFrame([list(row) for row in rows], columns=[column.key for column in columns], dtype=object)
    return Table(caption, frame, columns, empty, **options)
