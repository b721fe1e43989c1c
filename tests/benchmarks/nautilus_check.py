"""NautilusTrader's compiled RiskEngine on one order with its three checks: price and quantity, notional, rate.

Run by `tests.benchmarks.guard` with the Python of an environment that has nautilus_trader 1.221; prints nanoseconds of
each `execute`, one a line. Athena never depends on it.
"""

import sys
import time
from decimal import Decimal


def main(count):
    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import MessageBus, TestClock
    from nautilus_trader.common.factories import OrderFactory
    from nautilus_trader.core.uuid import UUID4
    from nautilus_trader.execution.messages import SubmitOrder
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import AccountType, OrderSide
    from nautilus_trader.model.events import AccountState
    from nautilus_trader.model.identifiers import AccountId, StrategyId, TraderId
    from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity
    from nautilus_trader.portfolio.portfolio import Portfolio
    from nautilus_trader.risk.config import RiskEngineConfig
    from nautilus_trader.risk.engine import RiskEngine
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    clock, trader, strategy = TestClock(), TraderId("BENCH-001"), StrategyId("S-001")
    bus, cache = MessageBus(trader, clock), Cache()
    portfolio = Portfolio(bus, cache, clock)
    aapl = TestInstrumentProvider.equity("AAPL", "XNAS")
    account = AccountId("XNAS-1")
    # Of a margin account Nautilus checks no notional at all, so this one is of cash.
    state = AccountState(
        account, AccountType.CASH, USD, True,
        [AccountBalance(Money(10**6, USD), Money(0, USD), Money(10**6, USD))], [], {}, UUID4(), 0, 0,
    )  # fmt: skip
    from nautilus_trader.accounting.factory import AccountFactory

    cache.add_account(AccountFactory.create(state))
    portfolio.update_account(state)
    cache.add_instrument(aapl)
    cache.add_quote_tick(
        QuoteTick(
            aapl.id,
            Price.from_str("99.99"),
            Price.from_str("100.01"),
            Quantity.from_int(100),
            Quantity.from_int(100),
            0,
            0,
        )
    )
    passed = []
    bus.register("ExecEngine.execute", passed.append)
    bus.register("ExecEngine.process", lambda event: None)
    config = RiskEngineConfig(max_order_submit_rate="1000000/00:00:01", max_notional_per_order={str(aapl.id): 10**6})
    engine = RiskEngine(portfolio, bus, cache, clock, config=config)
    engine.start()
    factory = OrderFactory(trader, strategy, clock)
    commands = []
    for _ in range(count):
        order = factory.limit(aapl.id, OrderSide.BUY, Quantity.from_int(10), Price.from_str("100.00"))
        cache.add_order(order, None)
        commands.append(SubmitOrder(trader, strategy, order, UUID4(), 0))
    took, tick = [], time.perf_counter_ns
    for command in commands:
        began = tick()
        engine.execute(command)
        took.append(tick() - began)
    assert len(passed) == count, f"{len(passed)} of {count} passed: {Decimal(len(passed)) / count}"
    print("\n".join(map(str, took)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
