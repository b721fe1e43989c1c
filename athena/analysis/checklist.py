"""A checklist that ticks itself where a machine can know, and asks where not; an open question is no tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Finding, Section, Verdict
from athena.analysis.tables import Column, Table

BOX = {Verdict.OK: "☑", Verdict.ATTENTION: "☐", Verdict.UNKNOWN: "?", Verdict.STOP: "☒"}


@dataclass(frozen=True)
class Question:
    """What only a person knows. `hint` says what to look at, or what to do when the answer is no."""

    key: str
    text: str
    hint: str


@dataclass(frozen=True)
class Answer:
    """What a person said of one question: yes or no, in which words, who, and when (aware)."""

    yes: bool
    words: str
    who: str
    at: datetime


def judged(questions: Sequence[Question], answers: Mapping[str, Answer]) -> list[Finding]:
    """Each question as a finding: yes is OK; no, and no answer yet, need attention."""
    return [_judge(question, answers.get(question.key)) for question in questions]


def _judge(question: Question, given: Answer | None) -> Finding:
    rule = "answered yes"
    if given is None:
        return Finding(question.text, Verdict.ATTENTION, "open", rule, f"Open: {question.text}", question.hint)
    said = f"{'yes' if given.yes else 'no'}{': ' + given.words if given.words else ''} ({given.who})"
    if given.yes:
        return Finding(question.text, Verdict.OK, said, rule)
    return Finding(question.text, Verdict.ATTENTION, said, rule, f"Answered no: {question.text}", question.hint)


def machine_section(title: str, findings: Sequence[Finding]) -> Section:
    """What was ticked by looking, in the order of the checklist."""
    rows = [
        [BOX[f.verdict], f.check, f.verdict.value, f.observed, f.threshold, f.action if f.fired else ""]
        for f in findings
    ]
    names = ["box", "check", "verdict", "observed", "threshold", "action"]
    labels = ("Done", "Check", "", "Seen", "Wanted", "Next")
    frame = pd.DataFrame(rows, columns=names)
    done = sum(not finding.fired for finding in findings)
    columns = [Column(name, label) for name, label in zip(names, labels, strict=True)]
    words = f"{done} of {len(findings)} ticked by looking, just now."
    return Section(title, words, (Table("Ticked by the machine", frame, columns, cards=True),))


def operator_section(title: str, questions: Sequence[Question], answers: Mapping[str, Answer]) -> Section:
    """What people said, and what is still open."""
    rows = []
    for question in questions:
        given = answers.get(question.key)
        verdict = Verdict.OK if given and given.yes else Verdict.ATTENTION
        said = "open" if given is None else f"{'yes' if given.yes else 'no'} {given.words}".strip()
        rows.append(
            [
                BOX[verdict],
                question.key,
                question.text,
                verdict.value,
                said,
                given.who if given else "",
                given.at if given else None,
                question.hint,
            ]
        )
    names = ["box", "key", "text", "verdict", "said", "who", "at", "hint"]
    writes = (style.text,) * 6 + (style.moment, style.text)
    labels = ("Done", "Key", "Question", "", "Answer", "By", "At", "Look at")
    columns = [Column(name, label, write) for name, label, write in zip(names, labels, writes, strict=True)]
    left = sum(question.key not in answers for question in questions)
    words = f"{left} of {len(questions)} are open." if left else "All are answered."
    return Section(
        title, words, (Table("For the operator", pd.DataFrame(rows, columns=names, dtype=object), columns, cards=True),)
    )
