"""A decision matrix as code: rows with their condition, what is recommended, and what happens by itself.

    decision = drawdown(Decimal("6.2"), guard.limits())
    print(decision)            # the whole table, the fired row marked
    decision.row.recommended   # "Reduce position sizes by 25 %: ..."

Thresholds come from the guard's limits; `PLAYBOOK` holds the operators' own, which are the limits' defaults. A limit
that is off takes the automatic action away, never the recommendation. Conditions are written so that a missing or
meaningless observation fires UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from html import escape
from typing import Any

PLAYBOOK: Mapping[str, Any] = {
    "drawdown_reduce_size_percent": Decimal(5),
    "drawdown_reduce_only_percent": Decimal(10),
    "drawdown_halt_percent": Decimal(15),
    "drawdown_size_factor": Decimal("0.75"),
    "limit_orders_only_slippage_bps": Decimal(25),
    "max_slippage_bps": Decimal(50),
}
NOTHING = "nothing"


class Severity(StrEnum):
    """How urgent a row is, in the words of every verdict; UNKNOWN is never as good as OK."""

    OK = "OK"
    ATTENTION = "ATTENTION"
    UNKNOWN = "UNKNOWN"
    STOP = "STOP"


@dataclass(frozen=True)
class Row:
    """One line of a matrix. `automatic` says what the system does without anyone, and which limit switches that."""

    key: str
    when: str
    severity: Severity
    recommended: str
    automatic: str = NOTHING


@dataclass(frozen=True)
class Decision:
    """A matrix applied to one observation: the row that fired, what was seen, and the thresholds it was held against.

    `inputs` and `thresholds` hold bare values, their unit in the name.
    """

    matrix: str
    subject: str
    row: Row
    rows: tuple[Row, ...]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        return self.row.severity

    def to_dict(self) -> dict[str, Any]:
        """Only JSON's types; decimals as text."""
        return {
            "matrix": self.matrix,
            "subject": self.subject,
            "fired": self.row.key,
            "severity": self.severity.value,
            "recommended": self.row.recommended,
            "automatic": self.row.automatic,
            "inputs": {name: _plain(value) for name, value in self.inputs.items()},
            "thresholds": {name: _plain(value) for name, value in self.thresholds.items()},
            "rows": [vars(row) | {"severity": row.severity.value, "fired": row is self.row} for row in self.rows],
        }

    def __str__(self) -> str:
        wide = max(len(row.when) for row in self.rows)
        lines = [f"{self.matrix}: {self.subject}"]
        for row in self.rows:
            lines.append(f"{'▶' if row is self.row else ' '} {row.when:{wide}}  {row.severity:9}  {row.recommended}")
            lines.append(f"  {'':{wide}}  {'':9}  by itself: {row.automatic}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        bold = ' style="font-weight:bold"'
        body = "".join(
            f"<tr{bold if row is self.row else ''}><td>{'▶' if row is self.row else ''}</td>"
            f"<td>{escape(row.when)}</td><td>{row.severity}</td><td>{escape(row.recommended)}</td>"
            f"<td>{escape(row.automatic)}</td></tr>"
            for row in self.rows
        )
        head = "<tr><th></th><th>When</th><th></th><th>Recommended</th><th>By itself</th></tr>"
        return f"<table><caption>{escape(self.matrix)}: {escape(self.subject)}</caption>{head}{body}</table>"


def drawdown(fall_percent: Any, limits: Mapping[str, Any] | None = None) -> Decision:
    """What a fall of equity below its peak, in per cent of it, asks for. None or NaN: UNKNOWN."""
    names = ("drawdown_reduce_size_percent", "drawdown_reduce_only_percent", "drawdown_halt_percent")
    first, second, third = tiers = [threshold(name, limits) for name in names]
    factor = threshold("drawdown_size_factor", limits)
    rows = (
        Row("below", f"below {first} %", Severity.OK, "Monitor."),
        Row(
            "reduce_size", f"{first} % to {second} %", Severity.ATTENTION,
            f"Reduce position sizes by {(1 - factor) * 100:.0f} %: `athena reduce-position-sizes --factor {factor}`.",
            automatic(names[0], limits, f"the limits on size shrink to {factor} of their value while it lasts"),
        ),
        Row(
            "reduce_only", f"{second} % to {third} %", Severity.STOP,
            "No new entries; review the exits: `athena halt --reduce-only`.",
            automatic(names[1], limits, "reduce-only, journaled, until an operator resumes"),
        ),
        Row(
            "halt", f"{third} % and more", Severity.STOP,
            "Emergency stop, then review by hand: `athena emergency-stop`.",
            automatic(names[2], limits, "everything halts, journaled, until an operator resumes"),
        ),
        Row("unknown", "not known", Severity.UNKNOWN, "Find out before trading on: `athena reconcile`."),
    )  # fmt: skip
    seen = _number(fall_percent)
    subject = "the fall from the peak is not known" if seen is None else f"{seen:.2f} % below the peak of equity"
    fired = rows[-1] if seen is None else rows[sum(seen >= tier for tier in tiers)]
    return Decision(
        "Drawdown", subject, fired, rows, {"fall_percent": seen}, dict(zip(names, tiers, strict=True))
    )  # fmt: skip


def slippage(bps: Any, limits: Mapping[str, Any] | None = None, *, symbol: str = "") -> Decision:
    """What fills this many bps worse than the mid ask for. None or NaN (no quote to measure by): UNKNOWN."""
    first, second = names = ("limit_orders_only_slippage_bps", "max_slippage_bps")
    low, high = (threshold(name, limits) for name in names)
    named = symbol or "the symbol"
    rows = (
        Row("below", f"below {low} bps", Severity.OK, "Monitor, no action."),
        Row(
            "limit_orders", f"{low} to {high} bps", Severity.ATTENTION, f"Trade {named} by limit orders.",
            automatic(first, limits, "only limit orders pass in the symbol for the day; a violation is journaled"),
        ),
        Row(
            "halt_symbol", f"above {high} bps", Severity.STOP,
            f"Keep {named} halted and find out why: `athena halt --symbol {symbol or 'SYMBOL'}`.",
            automatic(second, limits, "the symbol halts, journaled, until an operator resumes it"),
        ),
        Row("unknown", "not measured", Severity.UNKNOWN, "Check the market-data stream: `athena health-check`."),
    )  # fmt: skip
    seen = _number(bps)
    subject = f"{symbol}: " * bool(symbol) + ("not measured" if seen is None else f"{seen:.1f} bps worse than the mid")
    fired = rows[3] if seen is None else rows[2] if seen > high else rows[1] if seen >= low else rows[0]
    return Decision("Slippage", subject, fired, rows, {"slippage_bps": seen}, {first: low, second: high})


_CANCELS = "with `cancel_on_halt`, its open strategy orders are cancelled"
_BY_HAND = "stays until an operator resumes"
_HALTS = (
    # row key, when, severity, recommended, automatic, the limit that switches it
    ("daily_loss", "the day's loss reached its limit", Severity.STOP,
     "STOP. Review by hand; wait for the next trading day, or resume by a recorded override.",
     f"everything halted; {_BY_HAND}; {_CANCELS}", "max_daily_loss_dollars"),
    ("drawdown_halt", "the fall from the peak reached its last tier", Severity.STOP,
     "Emergency stop, then review by hand: `athena emergency-stop`.",
     f"everything halted; {_BY_HAND}; {_CANCELS}", "drawdown_halt_percent"),
    ("drawdown_reduce_only", "the fall from the peak reached its second tier", Severity.STOP,
     "No new entries; review the exits.", f"reduce-only; {_BY_HAND}", "drawdown_reduce_only_percent"),
    ("consecutive_losses", "too many losing closing orders in a row", Severity.ATTENTION,
     "Review the strategy's performance; consider pausing it: `athena halt --strategy NAME`.",
     f"reduce-only; {_BY_HAND}", "max_consecutive_losses"),
    ("slippage", "an order's slippage passed its limit", Severity.ATTENTION,
     "Look at the symbol's market; use limit orders when it is resumed.",
     f"the symbol halted; {_BY_HAND}; {_CANCELS}", "max_slippage_bps"),
    ("connectivity", "the venue was gone too long", Severity.STOP,
     "Check the broker: `athena check-brokers`. Gone for more than 30 s: close positions at the broker's own page.",
     "everything halted; lifted by itself after reconnecting and a clean reconciliation", "max_disconnect_seconds"),
    ("reconciliation", "our books and the venue's differ", Severity.STOP,
     "Read the evidence, correct the books: `athena broker-reconciliation`.",
     "what differs halted, the symbol or everything; lifted by itself when the books agree again", None),
    ("startup", "the engine started", Severity.ATTENTION,
     "Check positions, then `athena resume REASON`.", f"everything halted at every start; {_BY_HAND}", None),
    ("defect", "a part of the engine failed", Severity.STOP,
     "Read the engine's log; restart the engine before resuming.", f"everything halted; {_BY_HAND}", None),
    ("orphan", "the flag was halted by a process that died", Severity.STOP,
     "Ask who halted and why, then `athena resume REASON`.", f"everything halted and recorded; {_BY_HAND}", None),
    ("operator", "an operator halted", Severity.ATTENTION,
     "Ask its owner before resuming.", f"{_BY_HAND}, or its time is over; {_CANCELS}", None),
    ("none", "nothing is halted", Severity.OK, "Trade.", NOTHING, None),
    ("unknown", "another reason", Severity.UNKNOWN, "Read the halt; resume only once its cause is known.",
     _BY_HAND, None),
)  # fmt: skip


def halted(origin: str = "", owner: str = "", reason: str = "", limits: Mapping[str, Any] | None = None) -> Decision:
    """What a halt asks for, by its origin and owner (a guard's halt is owned by the limit that was reached).

    Without an origin: nothing is halted.
    """
    rows = tuple(
        Row(key, when, severity, recommended, automatic(name, limits, does) if name else does)
        for key, when, severity, recommended, does, name in _HALTS
    )
    by_owner = {name: key for key, _, _, _, _, name in _HALTS if name}
    by_origin = {"connectivity": "connectivity", "reconciliation": "reconciliation", "startup": "startup"}
    if not origin:
        key = "none"
    elif origin == "guard":
        key = by_owner.get(owner, "defect" if owner == "engine" else "unknown")
    elif origin == "operator":
        key = "orphan" if owner == "unknown" else "operator"
    else:
        key = by_origin.get(origin, "unknown")
    fired = next(row for row in rows if row.key == key)
    subject = f"{reason or fired.when} ({owner or origin})" if origin else fired.when
    return Decision("Halt", subject, fired, rows, {"origin": origin, "owner": owner, "reason": reason})


def worst(decisions: Sequence[Decision]) -> Severity:
    """The most urgent of several; UNKNOWN when there are none."""
    order = list(Severity)
    return max((d.severity for d in decisions), key=order.index, default=Severity.UNKNOWN)


def threshold(name: str, limits: Mapping[str, Any] | None) -> Decimal:
    """The limit as it is set; where it is off, the playbook's own number, so that the advice stands."""
    value = (limits or {}).get(name)
    return Decimal(PLAYBOOK[name]) if value is None else Decimal(value)


def automatic(name: str, limits: Mapping[str, Any] | None, does: str) -> str:
    """What a limit does by itself; a limit that is off does nothing. Without limits: its default is in force."""
    if limits is not None and limits.get(name) is None:
        return f"{NOTHING}: {name} is off"
    return f"{does} ({name})"


def _number(value: Any) -> Decimal | None:
    """A finite number, or None: what cannot be compared is not known."""
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value
