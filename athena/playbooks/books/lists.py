"""What the three daily checklists share: machine's ticks, operator's answers, one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from athena.analysis.assessment import Assessment, Finding, Section
from athena.analysis.checklist import Question, judged, machine_section, operator_section
from athena.playbooks.books import asking
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer


def settle(
    title: str,
    playbook: str,
    texts: Mapping[str, str],
    system: System,
    machine: Sequence[Finding],
    questions: Sequence[Question],
    answers: str,
    sections: Mapping[str, Section],
    numbers: Mapping[str, Any],
) -> Assessment:
    """The checklist's assessment, `answers` journaled first; `texts` has the sections `machine` and `operator`."""
    recorded = asking.journal_answers(system, playbook, asking.parse(answers, questions))
    given = asking.given(system, playbook)
    said = judged(questions, given)
    whole = {
        "machine": machine_section(texts["machine"], machine),
        "operator": operator_section(texts["operator"], questions, given),
        **sections,
    }
    left = sum(question.key not in given for question in questions)
    ticked = sum(not finding.fired for finding in [*machine, *said])
    counts = {
        "ticked": ticked,
        "items": len(machine) + len(questions),
        "open_questions": left,
        "answers_recorded": recorded,
    }
    day = asking.day_of(system)
    well = f"Every line of the checklist of {day} holds."
    found = answer(title, texts, system, [*machine, *said], whole, {**counts, **numbers}, well)
    return Assessment(
        found.title,
        found.verdict,
        found.reason,
        found.action,
        found.as_of,
        found.findings,
        found.sections,
        found.numbers,
        {**found.facts, "trading_date": day},
    )
