"""Strategies: deterministic decisions, checked parameters, keys that survive a restart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.config import Settings
from athena.config_tables import StrategySettings
from athena.errors import SettingsError
from athena.live.strategies import Context, make_strategies, validate_strategies
from athena.live.strategies.mean_reversion import MeanReversion, MeanReversionParameters
from athena.live.strategies.momentum import Momentum, MomentumParameters
from athena.model import OrderType, Quote, Side

OPEN = datetime(2020, 3, 9, 13, 30, tzinfo=UTC)


def quotes(mids, seconds=10):
    for n, mid in enumerate(mids):
        price = Decimal(str(mid))
        at = OPEN + timedelta(seconds=seconds * n)
        yield Quote("AAPL", price - Decimal("0.01"), price + Decimal("0.01"), Decimal(300), Decimal(300), at)


def drive(strategy, mids):
    """All intents of a strategy over a path, every order filled at once at the mid."""
    intents, held, entry = [], Decimal(0), None
    for quote in quotes(mids):
        left = 6.5 * 3600 - (quote.at - OPEN).total_seconds()
        context = Context("s", quote.at, quote.at.date(), left, held, entry, False, len(intents) + 1)
        for intent in strategy.on_quote(quote, context):
            held += intent.quantity * intent.side.sign
            entry = quote.mid
            intents.append(intent)
    return intents


FLAT = [100 + (0.05 if n % 2 else -0.05) for n in range(120)]


def test_mean_reversion_sells_a_spike_with_a_limit_and_leaves_at_the_average():
    """A mid far above its average is sold at the bid, and bought back when it returns."""
    strategy = MeanReversion("s", ("AAPL",), MeanReversionParameters(cooldown_seconds=60, position_dollars_max=2000))
    path = [*FLAT, *[100.6] * 10, *FLAT]
    first, second = drive(strategy, path)[:2]
    assert (first.side, first.type, first.limit_price) == (Side.SELL, OrderType.LIMIT, Decimal("100.59"))
    assert (second.side, second.quantity) == (Side.BUY, first.quantity)
    assert first.quantity * 100 <= 2000


def test_momentum_buys_a_breakout_once_and_leaves_at_its_stop():
    """A new high is bought with one market order; a fall past the stop sells all of it."""
    strategy = Momentum("s", ("AAPL",), MomentumParameters())
    path = [100 + (0.05 if n % 2 else -0.05) for n in range(200)] + [101.0] * 150 + [100.0] * 60
    first, second = drive(strategy, path)[:2]
    assert (first.side, first.type) == (Side.BUY, OrderType.MARKET)
    assert (second.side, second.quantity, second.reason) == (Side.SELL, first.quantity, "-99 bps since the entry")


def test_the_same_quotes_give_the_same_orders():
    """A strategy has no hidden source of chance."""
    path = [100 + ((n * 7919) % 97) / 60 for n in range(1500)]
    runs = [drive(MeanReversion("s", ("AAPL",), MeanReversionParameters()), path) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0]


def test_a_decision_has_its_own_key_and_the_same_decision_the_same_id():
    """Number and date make the client order id: another number another id, the same number the same."""
    quote = next(quotes([100]))
    context = Context("s", OPEN, OPEN.date(), 60.0, Decimal(0), None, False, 3)
    one, same = (context.order(quote, Decimal(5), "") for _ in range(2))
    other = replace(context, next_number=4).order(quote, Decimal(5), "")
    assert one.client_order_id == same.client_order_id != other.client_order_id


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"enter_zz": 2.0}, "Did you mean 'enter_z'?"),
        ({"enter_z": "high"}, "enter_z is 'high'; a finite number"),
        ({"enter_z": float("nan")}, "a finite number"),
        ({"dollars": -1}, "dollars is -1; it must be positive"),
        ({"leave_z": 3.0}, "less than enter_z"),
        ({"dollars": 9000}, "position_dollars_max 4000 is less than dollars 9000"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_name_and_value(parameters, says):
    """A strategy never starts on a parameter nobody meant."""
    table = StrategySettings("mr", "mean_reversion", ("AAPL",), parameters)
    with pytest.raises(SettingsError) as error:
        make_strategies(Settings(strategies=(table,)))
    assert "strategy mr" in str(error.value)
    assert says in str(error.value)


def test_validation_finds_every_mistake_not_only_the_first():
    """Each strategy gets its own line."""
    tables = (
        StrategySettings("a", "mean_reversal", ("AAPL",)),
        StrategySettings("b", "momentum", ("AAPL",), {"enter_bars": 2.5}),
        StrategySettings("c", "momentum", ("AAPL",)),
    )
    findings = validate_strategies(Settings(strategies=tables))
    assert [finding.ok for finding in findings] == [False, False, True]
    assert "mean_reversion" in findings[0].hint
    assert "whole number" in findings[1].message


def test_a_strategy_may_not_take_a_reserved_or_used_name():
    """Names tell whose an order is."""
    for names in (("operator",), ("same", "same")):
        tables = tuple(StrategySettings(name, "momentum", ("AAPL",)) for name in names)
        with pytest.raises(SettingsError):
            make_strategies(Settings(strategies=tables))


def test_an_account_of_your_own_gets_no_strategy_unasked():
    """Only the simulator trades the examples by default."""
    assert make_strategies(Settings(venue="paper")) == ()
    assert {s.name for s in make_strategies(Settings())} == {"mean_reversion", "momentum"}
