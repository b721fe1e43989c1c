"""Reading a what-if: which journaled orders would candidate limits have refused, and is that what one wants?

Frames in, an assessment out. One row a judged order: at, symbol, strategy, side, quantity, notional, recorded (the
guard's code then, '' for let through), replayed (the code under these limits), observed, limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.tables import Column, Table

MANY = 0.05  # of the orders that were let through; a candidate beyond it changes what the strategies do
HALTING = ("GUARD_HALTED", "REDUCE_ONLY", "GUARD_UNSURE", "GUARD_BUSY")  # refusals no limit explains
ALL = "all together"


def assess(
    baseline: pd.DataFrame, candidates: Mapping[str, pd.DataFrame], changes: Mapping[str, str], facts: Mapping[str, Any]
) -> Assessment:
    """Judge candidates against the record.

    `baseline` is the record replayed under its own limits, `candidates` the same by label, `changes` each label's
    change in words. UNKNOWN when there is nothing to replay, or when the baseline does not repeat the record.
    """
    findings = [repeats(baseline)]
    findings += [_candidate(label, frame, baseline, changes.get(label, "")) for label, frame in candidates.items()]
    action = "Apply them with `--apply --reason WHY`, or leave them."
    verdict, reason, next_action = conclude(findings, "The candidates would have refused few orders or none.", action)
    effects = pd.DataFrame([_effect(label, frame, baseline) for label, frame in candidates.items()])
    refused = newly_refused(candidates[ALL], baseline) if ALL in candidates else baseline.iloc[:0]
    return Assessment(
        title="Limits, what if",
        verdict=verdict,
        reason=reason,
        action=next_action,
        as_of=baseline["at"].max() if len(baseline) else None,
        findings=tuple(findings),
        sections={
            "effects": Section(
                "What would each have refused?",
                "Each change alone, then all together, over the orders the guard let through.",
                (_effects(effects),),
            ),
            "orders": Section(
                "Which orders?", "Under all changes together; refused orders take no further part.", (_orders(refused),)
            ),
        },
        numbers={
            "orders": len(baseline),
            "let_through": int((baseline["recorded"] == "").sum()) if len(baseline) else 0,
            **{f"refused, {label}": len(newly_refused(frame, baseline)) for label, frame in candidates.items()},
        },
        facts=facts,
    )


def repeats(baseline: pd.DataFrame) -> Finding:
    """The replay under the limits of the time lets through what was let through: else it proves nothing."""
    check, rule = "Does the replay repeat the record?", "every order let through passes again"
    if baseline.empty:
        why = "The journal has no orders to replay."
        return Finding(check, Verdict.UNKNOWN, "no orders", rule, why, "Trade a day first.")
    let = baseline[baseline["recorded"] == ""]
    wrong = int((let["replayed"] != "").sum())
    judged = baseline[(baseline["recorded"] != "") & ~baseline["recorded"].isin(HALTING)]
    again = int((judged["replayed"] != "").sum())
    observed = f"{len(let) - wrong} of {len(let)} passes and {again} of {len(judged)} refusals again"
    inputs = {"let_through": len(let), "differ": wrong, "refusals": len(judged), "refused_again": again}
    if wrong == 0:
        return Finding(check, Verdict.OK, observed, rule, inputs=inputs)
    why = f"{wrong} of {len(let)} orders that were let through would be refused under the limits of their own time."
    return Finding(check, Verdict.UNKNOWN, observed, rule, why, "Do not lean on the what-if; report this.", inputs)


def newly_refused(candidate: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Orders that the baseline lets through and the candidate does not."""
    passed = set(baseline.loc[(baseline["recorded"] == "") & (baseline["replayed"] == ""), "sequence"])
    return candidate[(candidate["replayed"] != "") & candidate["sequence"].isin(passed)]


def _candidate(label: str, frame: pd.DataFrame, baseline: pd.DataFrame, change: str) -> Finding:
    check, rule = label, f"at most {style.percent(MANY)} of the orders let through"
    refused, let = newly_refused(frame, baseline), int((baseline["recorded"] == "").sum())
    observed = f"{change + ': ' if change else ''}refuses {len(refused)} of {let}"
    inputs = {"refused": len(refused), "let_through": let, "codes": refused["replayed"].value_counts().to_dict()}
    if len(refused) <= MANY * let:
        return Finding(check, Verdict.OK, observed, rule, inputs=inputs)
    why = f"{label} would have refused {len(refused)} of {let} orders."
    return Finding(check, Verdict.ATTENTION, observed, rule, why, "Be sure that you want that.", inputs)


def _effect(label: str, frame: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    refused = newly_refused(frame, baseline)
    passes = set(frame.loc[frame["replayed"] == "", "sequence"])
    was = baseline[(baseline["recorded"] != "") & (baseline["replayed"] != "")]
    freed = int(was["sequence"].isin(passes).sum())
    codes = ", ".join(f"{code} × {n}" for code, n in refused["replayed"].value_counts().items())
    symbols = ", ".join(sorted(set(refused["symbol"])))
    notional = float(refused["notional"].astype(float).sum())
    return {"label": label, "refused": len(refused), "notional": notional, "freed": freed, "codes": codes,
            "symbols": symbols}  # fmt: skip


def _effects(frame: pd.DataFrame) -> Table:
    columns = [
        Column("label", "Change"), Column("refused", "Would have refused", style.count),
        Column("notional", "Worth, $", style.whole_usd), Column("freed", "Would have let through", style.count),
        Column("codes", "By"), Column("symbols", "Symbols"),
    ]  # fmt: skip
    empty = pd.DataFrame(columns=["label", "refused", "notional", "freed", "codes", "symbols"])
    return Table("Effect of each change", frame if len(frame) else empty, columns, cards=True)


def _orders(frame: pd.DataFrame) -> Table:
    columns = [
        Column("at", "At", style.moment), Column("symbol", "Symbol"), Column("strategy", "Strategy"),
        Column("side", "Side"), Column("quantity", "Shares", style.shares), Column("notional", "Worth, $", style.usd),
        Column("replayed", "Refused by"), Column("observed", "Observed"), Column("limit", "Limit"),
    ]  # fmt: skip
    return Table("Orders that would have been refused", frame, columns, "None.")
