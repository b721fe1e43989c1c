"""What the journal's events count up to: orders, refusals, violations, halts, slippage, alerts, playbook runs.

A look reads only the events since the last one, by their sequence, so a scrape costs what happened in between.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from athena.journal.codec import to_text
from athena.live.verdict import Code
from athena.model import OrderStatus, Origin

if TYPE_CHECKING:
    from athena.journal.journal import Journal

SLIPPAGE_BOUNDS = (-50.0, -25.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)  # bps
ENDINGS = tuple(status.value for status in OrderStatus if status.is_final)
RULES = tuple(code.value for code in Code)
ALERTS = tuple((severity, status) for severity in ("critical", "warning", "other") for status in ("firing", "resolved"))
PLAYBOOKS = (  # the catalogue is in a room above; a test holds the two together
    "trading_halt", "broker_disconnection", "pre_market", "market_open", "post_market", "daily_report",
    "drawdown_assessment", "correlation_matrix", "slippage_analysis", "market_volatility", "order_rejections",
    "guard_review", "monitoring", "limits_what_if", "crash_recovery", "data_recovery",
)  # fmt: skip
CHANNELS = ("slack", "email", "other")  # those that Apprise serves have names of the operators' own
RUN_RESULTS = ("ok", "attention", "stop", "unknown", "failed")  # its verdict, or that it reached none
OTHER = "other"
RECENT_FILLS, FILLS_MIN, RECENT_SECONDS = 10, 3, 300
_KNOWN = frozenset(RULES)
_PAGE = 2_000
_ENDED_MAX = 50_000
_EVENTS = (
    "SELECT sequence, kind, at, payload FROM events WHERE sequence > ? AND kind IN"
    " ('order.refused', 'order.updated', 'fill', 'violation', 'halt.set', 'alert.received', 'playbook.ran',"
    " 'delivery.sent', 'delivery.failed')"
    f" ORDER BY sequence LIMIT {_PAGE}"
)


class Counts:
    """Counters since event `sequence`, each born at 0 for every value its label can have."""

    def __init__(self, sequence: int, symbols: Iterable[str] = ()) -> None:
        """`symbols` are the values that label can have; any other counts as "other"."""
        self.sequence = sequence
        self.orders = Counter(dict.fromkeys(ENDINGS, 0))  # an order counts once, by how it ended
        self.refused = Counter(dict.fromkeys(RULES, 0))
        self.violations = Counter(dict.fromkeys(RULES, 0))
        self.halts = Counter(dict.fromkeys([origin.value for origin in Origin], 0))
        self.slippage = [0] * (len(SLIPPAGE_BOUNDS) + 1)  # fills per bucket, and one beyond; not cumulative
        self.paid_bps = self.saved_bps = 0.0  # sums of the slippage that cost, and (positive) of that which gained
        self._recent = {symbol: deque[tuple[str, float]](maxlen=RECENT_FILLS) for symbol in (*symbols, OTHER)}
        self.alerts = Counter(dict.fromkeys(ALERTS, 0))  # as Alertmanager told of them, each firing and each end once
        results = [(name, result) for name in (*PLAYBOOKS, OTHER) for result in RUN_RESULTS]
        self.playbook_runs = Counter(dict.fromkeys(results, 0))  # runs that nobody watched
        fates = [(channel, result) for channel in CHANNELS for result in ("sent", "failed", "dead")]
        self.notifications = Counter(dict.fromkeys(fates, 0))  # attempts; dead: it will not be tried again
        self._ended: dict[str, None] = {}  # client order ids, oldest first

    def catch_up(self, journal: Journal) -> None:
        """Take in what was journaled since. Raises JournalError."""
        while rows := journal.query(_EVENTS, (self.sequence,)):
            for sequence, kind, at, payload in rows:
                self._take(kind, at, json.loads(payload))
                self.sequence = sequence
            if len(rows) < _PAGE:
                return

    @property
    def mean_slippage_bps(self) -> float | None:
        """Signed mean over the fills whose mid was known; None without any."""
        fills = sum(self.slippage)
        return (self.paid_bps - self.saved_bps) / fills if fills else None

    def recent_slippage(self, now: datetime) -> dict[str, float]:
        """Signed mean over a symbol's latest fills of RECENT_SECONDS; of symbols with FILLS_MIN of them."""
        oldest = to_text(now - timedelta(seconds=RECENT_SECONDS))
        means = {}
        for symbol, fills in self._recent.items():
            while fills and fills[0][0] < oldest:
                fills.popleft()
            if len(fills) >= FILLS_MIN:
                means[symbol] = sum(bps for _, bps in fills) / len(fills)
        return means

    def _take(self, kind: str, at: str, facts: dict[str, Any]) -> None:
        match kind:
            case "fill":
                self._fill(at, facts)
            case "order.updated":
                if facts.get("status") in self.orders:
                    self._end(facts["client_order_id"], facts["status"])
            case "order.refused":
                self.orders[OrderStatus.REFUSED.value] += 1  # not by its id: a refused duplicate has another's
                self.refused[_rule(facts["code"])] += 1
                self.violations[_rule(facts["code"])] += 1
            case "violation":  # with `times` it is refusals alike that were not journaled one by one
                times = facts.get("times")
                self.violations[_rule(facts["code"])] += times or 1
                self.refused[_rule(facts["code"])] += times or 0
            case "halt.set":
                self.halts[facts["origin"]] += 1
            case "alert.received":
                severity = facts["severity"] if facts["severity"] in ("critical", "warning") else OTHER
                self.alerts[severity, facts["status"]] += 1
            case "delivery.sent" | "delivery.failed":
                channel = facts["id"].partition(".")[2].partition(":")[0]  # n1.email, n1.email:desk@company.com
                failed = "failed" if facts.get("next_at") else "dead"
                fate = "sent" if kind == "delivery.sent" else failed
                self.notifications[channel if channel in CHANNELS else OTHER, fate] += 1
            case "playbook.ran":
                result = str(facts.get("verdict")).lower() if facts["succeeded"] else "failed"
                name = facts["playbook"] if facts["playbook"] in PLAYBOOKS else OTHER
                self.playbook_runs[name, result if result in RUN_RESULTS else "unknown"] += 1

    def _end(self, client_order_id: str, status: str) -> None:
        if client_order_id in self._ended:
            return
        self._ended[client_order_id] = None
        if len(self._ended) > _ENDED_MAX:
            del self._ended[next(iter(self._ended))]
        self.orders[status] += 1

    def _fill(self, at: str, facts: dict[str, Any]) -> None:
        """Slippage as the guard has it: against the mid just before the fill, positive when it costs."""
        if not (facts.get("bid") and facts.get("ask")):
            return
        bid, ask, price = float(facts["bid"]), float(facts["ask"]), float(facts["price"])
        if not 0 < bid <= ask:
            return
        mid = (bid + ask) / 2
        bps = (price - mid) / mid * 1e4 * (1 if facts["side"] == "buy" else -1)
        self.slippage[bisect_left(SLIPPAGE_BOUNDS, bps)] += 1
        self.paid_bps += max(bps, 0.0)
        self.saved_bps += max(-bps, 0.0)
        self._recent[facts["symbol"] if facts["symbol"] in self._recent else OTHER].append((at, bps))


def _rule(code: str) -> str:
    return code if code in _KNOWN else Code.UNKNOWN.value
