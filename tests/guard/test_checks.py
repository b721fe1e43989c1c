"""Every check of an order: refused at its limit, passed just inside it, and never an exception."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_book import Book
from athena.live.guard_checklist import _loss
from athena.live.guard_checks import in_session
from athena.live.guard_load import load_book
from athena.live.verdict import Approved, Refused
from athena.model import Account, CashFlow, Clock, OrderStatus, OrderType, Purpose, Side, Trade
from tests.guard.conftest import NOON, D, Filled, exit_of, fill, intent, limit, order, quote, take_fill, take_order

BUY, SELL = Side.BUY, Side.SELL


def code(verdict: Refused | None) -> str:
    return "" if verdict is None else str(verdict.code)


def test_order_inside_all_limits_is_approved_and_on_record(engine: ExecutionGuard) -> None:
    """An order that passes is in the journal before anyone can send it."""
    one = intent()
    verdict = engine.admit(one, NOON)
    assert isinstance(verdict, Approved)
    row = engine.journal.one("SELECT status, bid, ask FROM orders WHERE client_order_id = ?", (one.client_order_id,))
    assert row is not None
    assert tuple(row) == ("intended", "99.99", "100.01")


def test_only_the_guard_makes_an_approval(engine: ExecutionGuard) -> None:
    """Nobody else can construct, change or forge an Approved."""
    with pytest.raises(TypeError, match="admit"):
        Approved(intent(), 1, 1, 1)
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    with pytest.raises(AttributeError):
        verdict.sequence = 7


LIMITS_ON_ONE_ORDER = [
    # limit, value, order that passes, order that does not, code
    ("max_order_quantity", 50, limit(BUY, "50", "100"), limit(BUY, "51", "100"), "ORDER_QUANTITY"),
    ("max_order_notional_dollars", 1001, limit(BUY, "10", "100.01"), intent(BUY, "11"), "ORDER_NOTIONAL"),
    ("max_position_per_symbol_dollars", 1001, intent(BUY, "10"), limit(BUY, "11", "90"), "POSITION_LIMIT"),
    ("max_position_per_symbol_dollars", 1001, intent(SELL, "10"), intent(SELL, "11"), "POSITION_LIMIT"),
    ("price_collar_bps", 100, limit(BUY, "1", "101.01"), limit(BUY, "1", "101.02"), "PRICE_COLLAR"),
    ("price_collar_bps", 100, limit(SELL, "1", "99"), limit(SELL, "1", "98.98"), "PRICE_COLLAR"),
    ("max_gross_exposure_dollars", 1001, intent(BUY, "10"), intent(BUY, "11"), "GROSS_EXPOSURE"),
    ("max_net_exposure_dollars", 1001, intent(SELL, "10"), intent(SELL, "11"), "NET_EXPOSURE"),
    ("allow_short", False, intent(BUY, "1"), intent(SELL, "1"), "SHORT_NOT_ALLOWED"),
    ("restricted_symbols", "MSFT", intent(), intent(symbol="MSFT"), "SYMBOL_NOT_ALLOWED"),
    ("allowed_symbols", ["AAPL"], intent(), intent(symbol="MSFT"), "SYMBOL_NOT_ALLOWED"),
    ("max_orders_per_minute", 1, intent(), None, "ORDER_RATE"),
    ("max_messages_per_minute", 1, intent(), None, "MESSAGE_RATE"),
    ("max_open_orders", 1, intent(), None, "OPEN_ORDERS"),
    ("max_open_orders_per_symbol", 1, intent(), None, "OPEN_ORDERS"),
    ("max_duplicate_orders", 1, intent(), None, "DUPLICATE_ORDER"),
    ("prevent_self_crossing", True, intent(BUY), limit(SELL, "1", "100"), "SELF_CROSSING"),
]


@pytest.mark.parametrize(("name", "value", "good", "bad", "expected"), LIMITS_ON_ONE_ORDER)
def test_limit_binds_the_next_order(
    engine: ExecutionGuard, handle: ExecutionGuard, name: str, value: Any, good: Any, bad: Any, expected: str
) -> None:
    """A limit set by another process passes the order at it, refuses the one beyond."""
    handle.set_limit(name, value)
    fresh = replace(good, key=f"{name}{value}{good.key}")
    if bad is not None and expected != "SELF_CROSSING":
        refused = engine.admit(replace(bad, key=f"{name}{bad.key}"), NOON)
        assert isinstance(refused, Refused)
        assert code(refused) == expected
        assert (refused.observed, refused.limit) != ("", "")
    assert engine.admit(fresh, NOON)
    again = engine.admit(replace(bad or good, key=f"again {name}"), NOON)
    assert isinstance(again, Refused)
    assert code(again) == expected
    row = engine.journal.one("SELECT code FROM violations ORDER BY sequence DESC LIMIT 1")
    assert row is not None
    assert row["code"] == expected


def test_worst_case_counts_open_orders(engine: ExecutionGuard) -> None:
    """Two resting orders count in full against the position limit, and a final state frees what was not filled."""
    engine.set_limit("max_position_per_symbol_dollars", "2000.20")
    first = limit(BUY, "10", "99.50")
    assert engine.admit(first, NOON)
    assert engine.admit(limit(BUY, "9", "99.40"), NOON)
    assert code(engine.check(limit(BUY, "2", "99.30"), NOON)) == "POSITION_LIMIT"
    take_order(engine, order(first, OrderStatus.CANCELED))
    assert engine.check(limit(BUY, "2", "99.30"), NOON) is None


def test_final_order_counts_until_its_fills_arrive(engine: ExecutionGuard) -> None:
    """An order reported filled counts as held before its execution was seen, and once only after."""
    one = intent(BUY, "10")
    assert engine.admit(one, NOON)
    book = engine.gate.book
    take_order(engine, order(one, OrderStatus.FILLED, "10"))
    assert (book.of("AAPL").position, book.of("AAPL").buys) == (0, 10)
    take_fill(engine, fill(one, "10", "100.01"))
    assert (book.of("AAPL").position, book.of("AAPL").buys, book.open) == (10, 0, {})


def test_ambiguous_order_counts_until_queried(engine: ExecutionGuard) -> None:
    """An order whose answer was ambiguous keeps its place in the exposure."""
    one = intent(BUY, "10")
    assert engine.admit(one, NOON)
    take_order(engine, order(one, OrderStatus.UNKNOWN))
    assert engine.gate.book.of("AAPL").buys == 10
    take_order(engine, order(one, OrderStatus.NOT_SENT))
    assert engine.gate.book.of("AAPL").buys == 0


def test_reduce_only_judges_the_resulting_position(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled
) -> None:
    """In reduce-only a closing order passes, one that would flip does not, nor a second that would close it twice."""
    filled(BUY, "10", "100.01")
    from athena.model import Mode

    handle.halt("wind down", mode=Mode.REDUCE_ONLY)
    assert code(engine.check(intent(BUY, "1"), NOON)) == "REDUCE_ONLY"
    assert code(engine.check(intent(SELL, "11"), NOON)) == "REDUCE_ONLY"
    assert engine.admit(intent(SELL, "6"), NOON)
    assert code(engine.check(intent(SELL, "5"), NOON)) == "REDUCE_ONLY"
    assert engine.admit(intent(SELL, "4"), NOON)
    assert code(engine.check(intent(SELL, "1", symbol="MSFT"), NOON)) == "REDUCE_ONLY"  # flat: nothing to reduce


def test_closing_orders_pass_an_exceeded_position_limit(engine: ExecutionGuard, filled: Filled) -> None:
    """A position above its limit may be reduced, in full or in part, by a strategy."""
    filled(BUY, "20", "100.01")
    engine.set_limit("max_position_per_symbol_dollars", 100)
    assert engine.check(intent(SELL, "5"), NOON) is None
    assert engine.check(intent(SELL, "20"), NOON) is None
    assert code(engine.check(intent(SELL, "25"), NOON)) == "POSITION_LIMIT"


def test_exit_passes_in_every_mode_without_quote_or_rate(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled
) -> None:
    """An operator's closing order is not stopped by a halt, a stale quote, a rate, a loss or an unopened day."""
    filled(BUY, "10", "100.01")
    handle.set_limit("max_orders_per_minute", 0)
    handle.set_limit("max_order_quantity", 0)
    handle.halt("stop")
    engine.on_quote(quote(bid="0", ask="0"))
    assert code(engine.check(intent(SELL, "1"), NOON)) == "GUARD_HALTED"
    verdict = engine.admit(exit_of(SELL, "10"), NOON + timedelta(days=3))
    assert isinstance(verdict, Approved)
    with engine.sending(verdict) as clear:
        assert clear


@pytest.mark.parametrize(
    ("side", "quantity"), [(SELL, "10.5"), (BUY, "1"), (SELL, "0"), (SELL, "-1"), (SELL, "NaN"), (SELL, "Infinity")]
)
def test_exit_may_only_close(engine: ExecutionGuard, filled: Filled, side: Side, quantity: str) -> None:
    """An exit that would exceed, enlarge or flip the position is refused."""
    filled(BUY, "10", "100.01")
    assert code(engine.admit(exit_of(side, quantity), NOON)) in {"EXIT_EXCEEDS_POSITION", "INVALID_ORDER"}  # type: ignore[arg-type]


def test_second_exit_is_refused_unless_the_first_is_unknown(engine: ExecutionGuard, filled: Filled) -> None:
    """Two exits cannot close a position twice, and an order of unknown fate does not trap it."""
    filled(BUY, "10", "100.01")
    first = exit_of(SELL, "10")
    assert engine.admit(first, NOON)
    assert code(engine.check(exit_of(SELL, "10"), NOON)) == "EXIT_EXCEEDS_POSITION"
    take_order(engine, order(first, OrderStatus.UNKNOWN))
    assert engine.check(exit_of(SELL, "10"), NOON) is None


def test_exit_of_a_symbol_never_traded_is_refused(engine: ExecutionGuard) -> None:
    """There is nothing to close in a symbol the book does not hold."""
    assert code(engine.check(exit_of(SELL, "1", symbol="ZZZ"), NOON)) == "EXIT_EXCEEDS_POSITION"


@pytest.mark.parametrize("seconds", [31, 3600, -6])
def test_stale_or_future_quote_refuses(engine: ExecutionGuard, seconds: float) -> None:
    """A quote older than the limit, or from too far ahead, prices nothing."""
    assert code(engine.check(intent(), NOON + timedelta(seconds=seconds))) == "QUOTE_STALE"
    assert engine.check(intent(), NOON + timedelta(seconds=30)) is None


def test_symbol_without_usable_quote_refuses(engine: ExecutionGuard) -> None:
    """Never quoted, one-sided and crossed are the same: no price; a good quote mends it."""
    assert code(engine.check(intent(symbol="IBM"), NOON)) == "QUOTE_STALE"
    for bid, ask in (("0", "100"), ("101", "100"), ("100", "0")):
        engine.on_quote(quote(bid=bid, ask=ask))
        assert code(engine.check(intent(), NOON)) == "QUOTE_STALE"
    engine.on_quote(quote())
    assert engine.check(intent(), NOON) is None


NONSENSE = [
    None,
    "",
    "12",
    12,
    12.5,
    D("NaN"),
    D("sNaN"),
    D("Infinity"),
    D("-Infinity"),
    D(-1),
    D(0),
    D("1e400"),
    object(),
    [],
    b"x",
]


@pytest.mark.parametrize(
    "field", ["quantity", "limit_price", "stop_price", "side", "type", "symbol", "strategy", "purpose", "key"]
)
@pytest.mark.parametrize("purpose", [Purpose.STRATEGY, Purpose.EXIT])
def test_nonsense_is_refused_never_raised(engine: ExecutionGuard, filled: Filled, field: str, purpose: Purpose) -> None:
    """Missing, mistyped, infinite, negative and huge values in any field are refused with a code."""
    filled(BUY, "10", "100.01")
    kind = OrderType.STOP_LIMIT if purpose is Purpose.STRATEGY else OrderType.MARKET
    for value in NONSENSE:
        good = intent(SELL, "1", type=kind, purpose=purpose)
        if kind is OrderType.STOP_LIMIT:
            good = replace(good, limit_price=D("99.9"), stop_price=D("99.9"))
        bad = object.__new__(type(good))  # past the constructor: the guard trusts nobody
        for name in good.__slots__:
            object.__setattr__(bad, name, value if name == field else getattr(good, name))
        verdict = engine.admit(bad, NOON)
        harmless = (
            field == "key" or (field == "strategy" and isinstance(value, str)) or ("price" in field and value is None)
        )
        assert isinstance(verdict, Refused) or harmless, (field, value, verdict)


@pytest.mark.parametrize("when", [None, "now", 5, NOON.replace(tzinfo=None)])
def test_nonsense_time_is_refused(engine: ExecutionGuard, when: Any) -> None:
    """A venue time that is none, or naive, refuses."""
    assert isinstance(engine.admit(intent(), when), Refused)


@pytest.mark.parametrize("what", [None, 5, "order", object()])
def test_what_is_no_order_is_refused(engine: ExecutionGuard, what: Any) -> None:
    """Anything else than an intent is refused."""
    assert isinstance(engine.admit(what, NOON), Refused)


@pytest.mark.parametrize(
    "facts",
    [
        {"type": OrderType.LIMIT},
        {"type": OrderType.MARKET, "limit_price": D(100)},
        {"type": OrderType.STOP},
        {"type": OrderType.STOP, "stop_price": D("99")},
        {"type": OrderType.LIMIT, "limit_price": D(0)},
        {"type": OrderType.LIMIT, "limit_price": D(-5)},
    ],
)
def test_prices_belong_to_the_type(engine: ExecutionGuard, facts: dict[str, Any]) -> None:
    """A limit order without a limit, a market order with one, a stop inside the market: refused."""
    assert code(engine.check(intent(BUY, **facts), NOON)) in {"INVALID_ORDER", "PRICE_COLLAR"}


def test_day_must_be_open(engine: ExecutionGuard) -> None:
    """Before the day was opened, and after its end, daily figures mean nothing, so nothing passes."""
    for shift in (timedelta(hours=-13), timedelta(hours=12)):
        at = NOON + shift
        engine.gate.book.quote(quote(at=at))
        assert code(engine.check(intent(), at)) == "DAY_NOT_OPEN"


def test_daily_figures_roll_on_the_new_york_date(engine: ExecutionGuard, filled: Filled) -> None:
    """20:30 in New York is the same trading day though it is tomorrow in UTC; after midnight there it is a new one."""
    filled(BUY, "10", "100.01")
    evening = NOON + timedelta(hours=8, minutes=30)
    engine.on_quote(quote(bid="89.99", ask="90.01", at=evening))
    assert engine.gate.book.daily_loss == D("100.10")
    engine.on_quote(quote(bid="89.99", ask="90.01", at=NOON + timedelta(hours=13)))
    assert engine.gate.book.daily_loss == 0
    assert engine.check(intent(), NOON + timedelta(hours=13)) is None


def test_session_by_the_venues_clock(engine: ExecutionGuard) -> None:
    """Regular means open by the venue's clock; extended adds 4:00 to 20:00 of a trading day; unknown refuses."""
    engine.set_limit("trading_session", "regular")
    assert code(engine.check(intent(), NOON)) == "SESSION_CLOSED"
    close, opening = NOON + timedelta(hours=4), NOON + timedelta(hours=21, minutes=30)
    engine.on_clock(Clock(NOON, True, opening, close))
    assert engine.check(intent(), NOON) is None
    engine.on_quote(quote(at=close))
    assert code(engine.check(intent(), close)) == "SESSION_CLOSED"
    engine.on_clock(Clock(close, False, opening, close + timedelta(days=1)))
    assert code(engine.check(intent(), close)) == "SESSION_CLOSED"
    engine.set_limit("trading_session", "extended")
    assert engine.check(intent(), close) is None
    engine.on_quote(quote(at=NOON + timedelta(hours=8)))
    assert code(engine.check(intent(), NOON + timedelta(hours=8))) == "SESSION_CLOSED"


def test_participation_needs_volume(engine: ExecutionGuard) -> None:
    """A share of recent volume: unknown volume is none, and old volume does not count."""
    engine.set_limit("max_participation_rate", "0.1")
    assert code(engine.check(intent(BUY, "10"), NOON)) == "PARTICIPATION"
    engine.gate.on_trade(Trade("AAPL", D(100), D(100), NOON - timedelta(minutes=4)))
    assert engine.check(intent(BUY, "10"), NOON) is None
    engine.gate.on_trade(Trade("AAPL", D(100), D(10), NOON + timedelta(minutes=2)))
    assert code(engine.check(intent(BUY, "10"), NOON)) == "PARTICIPATION"


def test_buying_power_is_used_up_by_orders(engine: ExecutionGuard) -> None:
    """Orders since the account was read count against buying power; unknown buying power refuses."""
    engine.set_limit("min_buying_power_dollars", 500)
    assert code(engine.check(intent(), NOON)) == "BUYING_POWER"
    engine.on_account(Account("A1", "simulator", "ACTIVE", "USD", D(1), D(1), D(1), D("2000")))
    assert engine.admit(intent(), NOON)
    assert code(engine.check(intent(), NOON)) == "BUYING_POWER"


def test_identical_executions_are_bounded(engine: ExecutionGuard, filled: Filled) -> None:
    """A strategy that fills the same order over and over is stopped; a different one passes."""
    engine.set_limit("max_identical_executions", 3)
    for n in range(3):
        filled(BUY, "1", "100.01", strategy="s", at=NOON + timedelta(seconds=n))
    assert code(engine.check(intent(BUY, "1", strategy="s"), NOON + timedelta(seconds=15))) == "IDENTICAL_EXECUTIONS"
    assert engine.check(intent(BUY, "2", strategy="s"), NOON + timedelta(seconds=15)) is None
    assert engine.check(intent(BUY, "1", strategy="other"), NOON + timedelta(seconds=15)) is None


def test_own_rate_of_a_symbol_and_a_strategy(engine: ExecutionGuard) -> None:
    """An override of the order rate counts the orders of its own symbol or strategy only."""
    engine.set_limit("max_orders_per_minute", 1, target="symbol:AAPL")
    engine.set_limit("max_orders_per_minute", 2, target="strategy:s")
    assert engine.admit(intent(symbol="MSFT", strategy="s"), NOON)
    assert engine.admit(intent(strategy="t"), NOON)
    assert code(engine.check(intent(strategy="t"), NOON)) == "ORDER_RATE"
    assert engine.admit(intent(BUY, "3", symbol="MSFT", strategy="s"), NOON)
    assert code(engine.check(intent(symbol="MSFT", strategy="s"), NOON)) == "ORDER_RATE"
    assert engine.check(intent(BUY, "4", symbol="MSFT", strategy="u"), NOON) is None
    assert engine.check(intent(strategy="u"), NOON + timedelta(seconds=30)) is not None
    engine.on_quote(quote(at=NOON + timedelta(seconds=60)))
    assert engine.check(intent(strategy="u"), NOON + timedelta(seconds=60)) is None


def test_the_same_decision_is_one_order(engine: ExecutionGuard) -> None:
    """An intent with a key already decided is refused, and the order on record stays as it was."""
    one = intent()
    assert engine.admit(one, NOON)
    assert code(engine.admit(one, NOON)) == "DUPLICATE_ORDER_ID"  # type: ignore[arg-type]
    row = engine.journal.one("SELECT status FROM orders WHERE client_order_id = ?", (one.client_order_id,))
    assert row is not None
    assert row["status"] == "intended"


FIRST, LATER = NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("news", "position", "buys"),
    [
        (["told 40", "40 first"], 40, 60),  # a look tells the order, then its executions
        (["40 first", "told 40"], 40, 60),  # the stream tells an execution, then the order
        (["told 40", "40 first", "20 later", "told 60"], 60, 40),
        (["told 40", "20 later", "told 60"], 20, 40),  # what was filled before the binding is held already
        (["told 0", "20 first", "20 first", "told 40"], 40, 60),  # a sweep: two at one time
        (["20 first", "told 20", "20 first", "told 40"], 40, 60),
        (["told 40", "40 first", "60 later", "filled"], 100, 0),
    ],
)
def test_an_order_from_outside_counts_what_is_left_of_it(
    engine: ExecutionGuard, news: list[str], position: int, buys: int
) -> None:
    """Executions that a partly filled order's first word included do not count twice, whichever comes first."""
    one, book = limit(BUY, "100", "99"), engine.gate.book.of("AAPL")
    for word, what in (each.split() if " " in each else ("told", "100") for each in news):
        if word == "told":
            status = OrderStatus.FILLED if what == "100" else OrderStatus.PARTIALLY_FILLED
            take_order(engine, replace(order(one, status, what), updated_at=LATER if int(what) > 40 else FIRST))
        else:
            take_fill(engine, fill(one, word, "99", FIRST if what == "first" else LATER))
    assert (book.position, book.buys) == (position, buys)


def test_a_foretold_opening_counts_for_a_minute() -> None:
    """Orders pass from the open on, before the clock is read again, by a clock read within the last minute only."""
    opens = NOON.replace(hour=13, minute=30)
    book = Book()
    book.tell_time(Clock(opens - timedelta(seconds=10), False, opens, opens + timedelta(hours=6.5)))
    passes = [in_session(book, opens + timedelta(seconds=s), False) for s in (-0.1, 0, 49.9, 50, 3600)]
    assert passes == [False, True, True, False, False]


def test_cash_flows_are_not_profit(engine: ExecutionGuard, filled: Filled) -> None:
    """A withdrawal is no loss and a deposit hides none."""
    filled(BUY, "10", "100.01")
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    for amount in ("-50000", "7000"):
        engine.on_cash_flow(CashFlow(f"f{amount}", "CSD" if amount[0] != "-" else "CSW", D(amount), NOON))
        assert engine.gate.book.daily_loss == D("100.10")
    assert engine.get_status().passes


@pytest.mark.parametrize(
    ("kind", "amount", "earned"),
    [("ACATC", "50000", 0), ("ACATC", "-50000", 0), ("CORR", "10000", 0), ("CORR", "-10000", -10000), ("DIV", "9", 9)],
)
def test_what_counts_as_profit(handle: ExecutionGuard, kind: str, amount: str, earned: int) -> None:
    """An account's transfer earns nothing, a correction never does and may lose; book, restart and checklist agree."""
    journal, (before, at, after) = handle.journal, (NOON + timedelta(minutes=n) for n in range(3))
    reading = {"cash": 0, "realised_pnl": 0, "unrealised_pnl": 0, "marks": {}}
    journal.append("equity", reading | {"equity": 100_000}, before)
    live = load_book(journal)
    live.cash_flow(CashFlow("f", kind, D(amount), at))
    if kind == "CORR":
        journal.append("correction", {"cash": D(amount), "reason": "not listed"}, at)
    else:
        journal.append("cash_flow", {"id": "f", "kind": kind, "amount": D(amount), "at": at, "description": ""}, at)
    journal.append("equity", reading | {"equity": 100_000 + int(amount)}, after)
    again = load_book(journal)
    for book in (live, again):
        assert (book.daily_loss, book.equity) == (-earned, 100_000 + int(amount))
    assert again.peak == 100_000 + max(earned, 0)
    assert _loss(journal).seen.startswith(f"lost ${-earned:,}" if earned < 0 else f"gained ${earned}")


def test_check_journals_nothing(engine: ExecutionGuard) -> None:
    """Asking whether an order would pass leaves no trace."""
    before = engine.journal.head()
    engine.check(intent(), NOON)
    engine.check(intent(BUY, "100000"), NOON)
    assert engine.journal.head() == before
