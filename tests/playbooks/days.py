"""Journals to report on, written through athena.journal: a busy day with an incident, after quiet ones."""

from __future__ import annotations

import atexit
import copy
import math
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from athena.journal import Journal
from athena.journal.telemetry import KeptQuote
from athena.live.kept_quotes import AFTER_SECONDS, BEFORE_SECONDS
from athena.model import Quote, trading_date

D = Decimal
ZERO, CENT, TICKS = D(0), D("0.01"), D("0.02")
DAYS = ("2020-03-04", "2020-03-05", "2020-03-06")
DAY = "2020-03-09"
PRICES = {"AAPL": D("66.80"), "MSFT": D("155.20"), "JPM": D("96.40"), "XOM": D("41.30")}


class Story:
    """Writes a journal as an engine would, keeping cash and positions by hand so that equity is independent."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal.open(path, "engine")
        self.cash, self.held, self.marks = D(100_000), {}, dict(PRICES)
        self.count = 0
        bound = {
            "venue": "simulator",
            "account_number": "SIM-1",
            "cash": self.cash,
            "equity": self.cash,
            "positions": [],
        }
        self.journal.append("account.bound", {**bound, "last_equity": self.cash}, self.at("2020-03-04", 9, 29))

    @staticmethod
    def at(day: str, hour: int, minute: float) -> datetime:
        """New York wall time (before 8 March 2020 it is UTC−5, from then on UTC−4)."""
        offset = 5 if day < "2020-03-08" else 4
        return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=hour + offset, minutes=minute)

    def trade(self, at, symbol, side, quantity, strategy="momentum", price=None, spread=TICKS, fee=CENT, quoted=True):
        self.count += 1
        mid = self.marks[symbol]
        bid, ask = mid - spread / 2, mid + spread / 2
        price = price or (ask if side == "buy" else bid)
        name, quantity = f"order-{self.count}", D(quantity)
        order = {"client_order_id": name, "strategy": strategy, "symbol": symbol, "side": side, "quantity": quantity}
        self.journal.append(
            "order.intended",
            {
                **order,
                "type": "market",
                "time_in_force": "day",
                "decision_price": mid,
                "bid": bid,
                "ask": ask,
                "epoch": 1,
            },
            at,
        )
        self.journal.append(
            "order.updated", {**order, "type": "market", "broker_order_id": f"b-{name}", "status": "new"}, at
        )
        quotes = {"bid": bid, "ask": ask} if quoted else {}
        fill = {**order, "execution_id": f"x-{self.count}", "broker_order_id": f"b-{name}", "price": price, "fee": fee}
        self.journal.append("fill", {**fill, "at": at, "source": "stream", **quotes}, at)
        self.journal.append(
            "order.updated", {**order, "type": "market", "status": "filled", "filled_quantity": quantity}, at
        )
        if quoted and trading_date(at).isoformat() == DAY:
            self.keep((at - self.at(DAY, 9, 30)).total_seconds() / 60, f"x-{self.count}", symbol, at, spread)
        signed = quantity if side == "buy" else -quantity
        self.cash -= signed * price + fee
        self.held[symbol] = self.held.get(symbol, D(0)) + signed

    def keep(self, minute: float, name: str, symbol: str, at, spread=TICKS):
        """The quotes an engine would have kept around a fill made so many minutes after the open, spread included."""
        kept = []
        for seconds in (*BEFORE_SECONDS, *AFTER_SECONDS):
            when = at + timedelta(seconds=seconds)
            mid = self.price(symbol, minute + seconds / 60)
            quote = Quote(symbol, mid - spread / 2, mid + spread / 2, D(100), D(100), when)
            kept.append(KeptQuote(trading_date(at), "fill", name, round(seconds * 1000), at, quote))
        self.journal.put_quotes(kept)

    def refuse(self, at, symbol, code="HALTED", strategy="momentum"):
        self.count += 1
        order = {"client_order_id": f"order-{self.count}", "strategy": strategy, "symbol": symbol, "side": "buy"}
        more = {
            "type": "market",
            "quantity": D(10),
            "code": code,
            "message": "all trading is halted",
            "observed": "halted",
        }
        self.journal.append("order.refused", {**order, **more, "limit_value": "active", "action": "refused"}, at)

    def reject(self, at, symbol, error="insufficient buying power"):
        self.count += 1
        order = {"client_order_id": f"order-{self.count}", "strategy": "reversion", "symbol": symbol, "side": "buy"}
        self.journal.append("order.intended", {**order, "type": "market", "quantity": D(500), "epoch": 1}, at)
        self.journal.append("order.updated", {**order, "type": "market", "status": "rejected", "error": error}, at)

    def equity(self, at, off=ZERO):
        held = {symbol: quantity for symbol, quantity in self.held.items() if quantity}
        worth = self.cash + sum((q * self.marks[s] for s, q in held.items()), D(0)) + off
        self.journal.append(
            "equity",
            {
                "equity": worth,
                "cash": self.cash,
                "realised_pnl": D(0),
                "unrealised_pnl": D(0),
                "marks": {s: self.marks[s] for s in held},
            },
            at,
        )
        return worth

    def halt(
        self, at, name, scope="global", target="", origin="operator", owner="operator alice", reason="spread blow-out"
    ):
        payload = {"id": name, "scope": scope, "target": target, "mode": "halted", "origin": origin, "owner": owner}
        self.journal.append("halt.set", {**payload, "reason": reason, "nonce": 7}, at)

    def drift(self, minute: float):
        self.marks = {symbol: self.price(symbol, minute) for symbol in self.marks}

    @staticmethod
    def price(symbol: str, minute: float) -> Decimal:
        number = list(PRICES).index(symbol)
        swing = D(str(round(0.004 * math.sin(minute / (23 + 7 * number) + number), 5)))
        return (PRICES[symbol] * (1 + swing - D("0.00003") * int(minute))).quantize(D("0.01"))

    def close(self):
        self.journal.close()


_MADE: dict[float, tuple[Path, Story]] = {}


def busy(path: Path, *, upto: float = 390.0, unexplained=ZERO, reconciled: bool | None = True) -> Path:
    """Three quiet days, then one with fills, a spread that opens, two halts, refusals, a rejection and a deposit.

    upto: minutes after the open at which the record ends. unexplained: dollars by which equity is off at the end. What
    comes before the end is written once and copied.
    """
    if upto not in _MADE:
        made = Path(tempfile.mkdtemp(prefix="athena-day-")) / "j.sqlite3"
        atexit.register(shutil.rmtree, made.parent, ignore_errors=True)
        _MADE[upto] = made, _written(made, upto)
    made, told = _MADE[upto]
    shutil.copy(made, path)
    story = copy.copy(told)
    story.journal = Journal.open(path, "engine")
    last = story.at(DAY, 9, 30 + upto)
    story.equity(last, unexplained)
    if reconciled is not None:
        breaks = [] if reconciled else [{"kind": "quantity", "symbol": "JPM", "ours": "15", "theirs": "40"}]
        story.journal.append(
            "reconciliation", {"trigger": "close", "ok": reconciled, "breaks": breaks, "checked": {}}, last
        )
    story.close()
    return path


def _written(path: Path, upto: float) -> Story:
    """The record up to, and without, its last reading; the journal is closed, so that its file can be copied."""
    story = Story(path)
    for number, day in enumerate(DAYS):
        opens = story.at(day, 9, 30)
        story.journal.append("day.opened", {"trading_date": day, "opening_equity": story.equity(opens)}, opens)
        story.trade(story.at(day, 10, 0), "AAPL", "buy", 10 + number)
        story.drift(30 * number)
        story.equity(story.at(day, 15, 59))
    for name, value in (
        ("max_daily_loss_dollars", D(2000)),
        ("max_position_per_symbol_dollars", D(20_000)),
        ("max_orders_per_minute", 60),
        ("max_slippage_bps", D(50)),
        ("allow_short", True),
    ):
        story.journal.append(
            "limit.set", {"name": name, "target": "", "value": value, "by": "settings", "reason": "first"}
        )
    opens = story.at(DAY, 9, 30)
    story.journal.append("day.opened", {"trading_date": DAY, "opening_equity": story.equity(opens)}, opens)
    story.journal.append(
        "broker.state", {"broker": "alpaca", "state": "connected", "previous": "connecting", "reason": ""}, opens
    )
    for minute in range(1, int(upto)):
        at = story.at(DAY, 9, 30 + minute)
        story.drift(minute)
        if minute % 30 == 5:
            symbol = list(PRICES)[minute // 30 % 4]
            story.trade(
                at, symbol, "buy" if minute % 60 < 30 else "sell", 40, "momentum" if minute % 4 else "reversion"
            )
        if minute == 120:
            story.journal.append(
                "cash_flow", {"id": "c1", "kind": "CSD", "amount": D(5000), "at": at, "description": "deposit"}, at
            )
            story.cash += D(5000)
        if minute == 150:
            story.trade(at, "XOM", "buy", 60, "reversion", spread=D("0.90"))
            story.halt(at, "h-xom", "symbol", "XOM", "guard", "guard", "slippage 109 bps past 50")
            violation = {"code": "max_slippage_bps", "message": "slippage", "symbol": "XOM", "strategy": "reversion"}
            story.journal.append(
                "violation", {**violation, "observed": "109", "limit_value": "50", "action": "halted XOM"}, at
            )
        if minute == 200:
            story.halt(at, "h-all")
        if minute in (205, 210, 221):
            story.refuse(at, "MSFT")
        if minute == 240:
            story.journal.append(
                "halt.cleared", {"id": "h-all", "by": "operator alice", "reason": "spread normal again"}, at
            )
        if minute == 260:
            story.reject(at, "JPM")
        if minute == 300:
            story.trade(at, "JPM", "sell", 25, quoted=False)
        story.equity(at)
    story.close()
    return story
