"""What changed since the run before: the difference of two results, in values for machines and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from athena.analysis import style

_UNITS: tuple[tuple[str, style.Format], ...] = (
    ("_usd", style.dollars),
    ("_bps", style.bps),
    ("_fraction", style.fine_percent),
)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict, findings and numbers that differ between two results of one playbook.

    findings: check, before, after (verdicts; "" where the rule did not speak), observed. Only a changed verdict counts,
    or a rule that fired and had not spoken before, or the other way round. numbers: name, before, after, change (text;
    None where one is not known). words: all of it in a sentence.
    """
    found = {
        "since": {"trading_date": before["trading_date"], "finished_at": before["run"]["finished_at"]},
        "verdict": [before["verdict"], after["verdict"]],
        "findings": _findings(before["findings"], after["findings"]),
        "numbers": _numbers(before["numbers"], after["numbers"]),
    }
    return {**found, "words": _words(found)}


def shown(name: str, value: Any) -> str:
    """A number as people read it, by the unit in its name."""
    number = _decimal(value)
    if number is None:
        return style.text(value)
    write = next((write for end, write in _UNITS if name.endswith(end)), None)
    return write(number) if write else f"{number.normalize():,f}".replace("-", "−")


def _findings(before: list[Mapping[str, Any]], after: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    was, now = ({row["check"]: row for row in rows} for rows in (before, after))
    rows = []
    for check in [*now, *(check for check in was if check not in now)]:
        one, other = (side.get(check, {}).get("verdict", "") for side in (was, now))
        if one != other and {one, other} != {"", "OK"}:
            observed = now.get(check, {}).get("observed", "")
            rows.append({"check": check, "before": one, "after": other, "observed": observed})
    return rows


def _numbers(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in [*after, *(name for name in before if name not in after)]:
        was, now = before.get(name), after.get(name)
        one, other = _decimal(was), _decimal(now)
        if (one, other) == (None, None) and was == now:
            continue
        if one is not None and one == other:
            continue
        change = None if one is None or other is None else f"{other - one:f}"
        rows.append({"name": name, "before": was, "after": now, "change": change})
    return rows


def _decimal(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _words(found: Mapping[str, Any]) -> str:
    was, now = found["verdict"]
    parts = [f"{was} → {now}" if was != now else f"still {now}"]
    counted: tuple[tuple[str, Callable[[Mapping[str, str]], bool]], ...] = (
        ("fired", lambda row: row["before"] in ("", "OK")),
        ("cleared", lambda row: row["after"] in ("", "OK")),
        ("changed", lambda row: row["before"] not in ("", "OK") and row["after"] not in ("", "OK")),
    )
    for word, test in counted:
        n = sum(test(row) for row in found["findings"])
        if n:
            parts.append(f"{n} {'check' if n == 1 else 'checks'} {word}")
    n = len(found["numbers"])
    parts.append(f"{n} {'number' if n == 1 else 'numbers'} moved" if n else "no number moved")
    return ", ".join(parts)
