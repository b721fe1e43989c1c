"""The matrices of rejections (the venue's words) and violations (the guard's codes): each cause with its fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from athena.core.decisions import NOTHING, Decision, Row, Severity

_A, _S, _OK = Severity.ATTENTION, Severity.STOP, Severity.OK
_REFUSED = "the order is refused and journaled"
REJECTED_SHARE = Decimal("0.05")  # of what was sent; above it rejections are excessive

_CAUSES: tuple[tuple[str, str, str, Severity, str], ...] = (
    # key, pattern in the venue's words, cause, severity, fix
    ("buying_power", r"insufficient buying power|insufficient (day ?trading )?funds", "not enough buying power", _A,
     "Reduce position sizes: `athena reduce-position-sizes --factor 0.8`; set min_buying_power_dollars."),
    ("shares_held", r"insufficient qty available", "the shares are held by other open orders, or not owned", _A,
     "Cancel the orders that hold them (`athena cancel-orders SYMBOL`), or sell and short in two orders."),
    ("short", r"not allowed to short|cannot be sold short|shorting|easy.to.borrow|hard.to.borrow", "no short selling",
     _A, "Take short selling away: `athena limits allow_short false [--symbol SYMBOL]`."),
    ("symbol", r"asset .*not found|asset not found|not tradable|not active|invalid symbol|symbol .*not found",
     "the symbol is invalid, delisted or not tradable", _A,
     "Update the symbol list: `athena limits restricted_symbols SYMBOL`; mend the strategy's symbols."),
    ("rate_limit", r"rate limit|too many requests|\b429\b|42910000", "requests come too fast", _A,
     "Slow down: `athena adjust-order-frequency --reduce-by 50`."),
    ("wash_trade", r"wash trade|opposite side", "it could trade with one's own order", _A,
     "Keep prevent_self_crossing on; cancel the opposite order first."),
    ("session", r"market (is )?closed|extended hours order|opg orders|cls orders|submitted after|outside .*hours",
     "market hours", _A, "Verify the session: `athena check-brokers`; `athena limits trading_session regular`."),
    ("suspended", r"rejected by user request|trading is suspended|account .*(blocked|restricted)|trade.*suspend",
     "the account takes no orders", _S, "An emergency stop set suspend_trade? `athena resume REASON` lifts it. Else"
     " call the broker."),
    ("day_trading", r"day trad|40310100", "pattern day trading", _S, "Close nothing opened today; call the broker."),
    ("duplicate", r"client_order_id must be unique", "the order is at the venue already", _OK,
     "None: a resend of the same decision cannot become a second order."),
    ("price", r"sub-penny|minimum pricing|invalid limit_price|invalid stop|stop price|limit price|above base price",
     "a price the venue does not take", _A, "Mend the strategy's rounding: cents from $1 on."),
    ("quantity", r"qty must|fractional|notional|minimum order|cost basis must", "a quantity the venue does not take",
     _A, "Mend the strategy's sizing."),
    ("key", r"\b401\b|not authori[sz]ed|unauthori[sz]ed", "the key is not accepted", _S,
     "Set APCA_API_KEY_ID and APCA_API_SECRET_KEY; `athena check-brokers`."),
)  # fmt: skip
_OTHER_REJECTION = Row("other", "another reason, or none given", Severity.UNKNOWN,
                       "Read the venue's words; ask the broker's support.")  # fmt: skip
_PATTERNS = {key: re.compile(pattern, re.IGNORECASE) for key, pattern, _, _, _ in _CAUSES}
REJECTIONS = (*(Row(key, cause, severity, fix) for key, _, cause, severity, fix in _CAUSES), _OTHER_REJECTION)


def rejection(words: str | None) -> Decision:
    """The cause and the fix of one rejection, by the venue's own words."""
    told = words or ""
    key = next((key for key, pattern in _PATTERNS.items() if pattern.search(told)), "other")
    row = next(row for row in REJECTIONS if row.key == key)
    return Decision("Rejection", told or "no reason given", row, REJECTIONS, {"words": told})


def rejections(words: Iterable[str | None], sent: int) -> Decision:
    """A day's rejections together: the commonest cause's row, once they are above 5 % of what was sent."""
    found = [rejection(text) for text in words]
    counts: dict[str, int] = {}
    for one in found:
        counts[one.row.key] = counts.get(one.row.key, 0) + 1
    few = Row("few", f"at most {REJECTED_SHARE:.0%} of the orders sent", _OK, "Monitor.")
    rows = (few, *REJECTIONS)
    commonest = max(counts, key=lambda key: counts[key]) if counts else ""
    is_few = len(found) <= REJECTED_SHARE * sent
    fired = few if is_few else next(row for row in rows if row.key == commonest)
    listed = ", ".join(f"{key} × {n}" for key, n in sorted(counts.items(), key=lambda item: -item[1])) or "none"
    inputs = {"rejected": len(found), "sent": sent, "causes": dict(counts)}
    subject = f"{len(found)} of {sent} orders rejected: {listed}"
    return Decision("Rejections", subject, fired, rows, inputs, {"rejected_share": REJECTED_SHARE})


_VIOLATIONS: tuple[tuple[tuple[str, ...], str, Severity, str, str], ...] = (
    # codes, when, severity, recommended, automatic
    (("NONE",), "none", _OK, "Trade.", NOTHING),
    (("DAILY_LOSS",), "daily loss", _S, "Wait for the next trading day, or override by a recorded decision.",
     "everything halts (max_daily_loss_dollars)"),
    (("DRAWDOWN",), "drawdown", _S, "By its tier: see the drawdown matrix.", "reduce-only, then everything halts"),
    (("POSITION_LIMIT", "GROSS_EXPOSURE", "NET_EXPOSURE"), "position size or exposure", _A,
     "Reduce the order, or close part of the position: `athena close-position SYMBOL`.", _REFUSED),
    (("CONSECUTIVE_LOSSES",), "consecutive losses", _A, "Review the strategy; consider pausing it.",
     "reduce-only (max_consecutive_losses)"),
    (("SLIPPAGE",), "slippage above its limit", _S, "Look at the symbol's market before resuming it.",
     "the symbol halts (max_slippage_bps)"),
    (("LIMIT_ORDERS_ONLY",), "slippage, first tier", _A, "Switch to limit orders; check market conditions.",
     "only limit orders pass in the symbol for the day (limit_orders_only_slippage_bps)"),
    (("ORDER_QUANTITY", "ORDER_NOTIONAL", "PARTICIPATION"), "order size", _A, "Make the order smaller.", _REFUSED),
    (("ORDER_RATE", "MESSAGE_RATE", "OPEN_ORDERS"), "too many orders", _A,
     "Find out why it sends so many; `athena adjust-order-frequency --reduce-by 50`.", _REFUSED),
    (("CANCEL_RATE",), "many cancels", _A, "Find out why it cancels so much.",
     "a warning, once a minute; cancels always go"),
    (("DUPLICATE_ORDER", "IDENTICAL_EXECUTIONS", "DUPLICATE_ORDER_ID"), "repetition", _A,
     "Look for a loop in the strategy; pause it: `athena halt --strategy NAME`.", _REFUSED),
    (("SELF_CROSSING",), "own orders could trade with each other", _A, "Cancel the opposite order first.", _REFUSED),
    (("PRICE_COLLAR",), "price far from the market", _A, "Check the strategy's price and the quote.", _REFUSED),
    (("QUOTE_STALE",), "old or missing quote", _A, "Check the market-data stream: `athena health-check`.", _REFUSED),
    (("BUYING_POWER",), "buying power", _A, "Reduce position sizes: `athena reduce-position-sizes --factor 0.8`.",
     _REFUSED),
    (("SYMBOL_NOT_ALLOWED", "SHORT_NOT_ALLOWED", "SESSION_CLOSED", "DAY_NOT_OPEN"), "not allowed here or now", _A,
     "Mend the strategy's symbols, sides or hours, or the limit.", _REFUSED),
    (("REDUCE_ONLY", "GUARD_HALTED"), "sent while halted or reduce-only", _OK,
     "None: see the halt itself.", _REFUSED),
    (("EXIT_EXCEEDS_POSITION",), "an exit larger than the position", _A,
     "Reconcile, then close again: `athena reconcile`.", _REFUSED),
    (("GUARD_UNSURE", "GUARD_BUSY", "JOURNAL_FAILED"), "the guard could not be sure", _S,
     "`athena guard-state-check`; check disk and journal.", _REFUSED),
    (("INVALID_ORDER",), "not an order", _A, "Mend the strategy: the message says what is wrong.", _REFUSED),
    (("RECONCILIATION",), "our books and the venue's differ", _S, "Read the evidence: `athena broker-reconciliation`.",
     "what differs halts until the books agree again; the halt is lifted by itself"),
    (("DISCONNECTED",), "the venue was gone too long", _S, "`athena check-brokers`.",
     "everything halts until it is back and reconciled (max_disconnect_seconds)"),
)  # fmt: skip
_OTHER_VIOLATION = Row("UNKNOWN", "a code this version does not know", Severity.UNKNOWN, "Read its message.", NOTHING)
VIOLATIONS = (
    *(Row(codes[0], when, severity, fix, does) for codes, when, severity, fix, does in _VIOLATIONS), _OTHER_VIOLATION
)  # fmt: skip
_ROW_OF = {code: row for (codes, *_), row in zip(_VIOLATIONS, VIOLATIONS, strict=False) for code in codes}


def violation(code: str, message: str = "", facts: Mapping[str, Any] | None = None) -> Decision:
    """What a violation asks for, by the guard's code."""
    row = _ROW_OF.get(str(code), _OTHER_VIOLATION)
    subject = f"{code}: {message}" if message else str(code)
    return Decision("Violation", subject, row, VIOLATIONS, {"code": str(code), "message": message, **(facts or {})})
