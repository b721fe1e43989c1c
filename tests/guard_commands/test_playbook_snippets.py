"""The operators' guard snippets, pasted as they stand into a real notebook kernel beside a live engine.

A cell before them imports datetime and timedelta, which the snippets use without importing.
"""

import os
import re
import time
from decimal import Decimal

import pytest
from jupyter_client.manager import start_new_kernel

from athena.model import Scope
from tests.engine.processes import desk, wait_for

STATUS = """
from athena.live.execution_guard import ExecutionGuard
from athena.ops import get_exporter
guard = ExecutionGuard.get_instance()
print('Guard Status:', guard.get_status())
exporter = get_exporter()
if exporter:
    print('Metrics:', exporter.get_metrics_summary())
"""
BROKERS = """
from athena.live.brokers import BROKER_REGISTRY
for name, broker_class in BROKER_REGISTRY.items():
    broker = broker_class.get_instance()
    if broker:
        print(f'{name}: {broker.state.value}')
        print(f'Uptime: {broker.get_uptime():.1f}s')
"""
RECONNECT = """
from athena.live.brokers.alpaca import AlpacaBroker
broker = AlpacaBroker.get_instance()
if broker:
    success = await broker.reconnect()
    print(f'Reconnection: {success}')
"""
HEALTH = """
from athena.live.brokers.alpaca import AlpacaBroker
broker = AlpacaBroker.get_instance()
health = await broker.health_check()
print('Broker Health:', health)
"""
BALANCE = """
from athena.live.brokers.alpaca import AlpacaBroker
broker = AlpacaBroker.get_instance()
account = await broker.get_account()
print(f'Available: ${account.available_balance:,.2f}')
"""
OVERNIGHT = """
from athena.core.portfolio import get_daily_pnl
pnl = get_daily_pnl()
print(f'Overnight P&L: ${pnl:,.2f}')
"""
DRAWDOWN = """
from athena.core.risk import RiskManager
from athena.core.portfolio import get_equity_curve
rm = RiskManager()
equity = get_equity_curve()
dd = rm.calculate_max_drawdown(equity)
print(f'Current Drawdown: {dd:.2%}')
"""
RESUME_ALL = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
await guard.resume_trading()  # Global resume
"""
RESUME_SYMBOL = """
await guard.resume_trading('AAPL')  # Symbol-specific resume
"""
LIMITS = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
print('Daily Loss Limit:', guard.config.max_daily_loss_dollars)
print('Max Position Size:', guard.config.max_position_per_symbol_dollars)
"""
ACTIVATE = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
guard.is_active = True
print('Execution guards active')
"""
HALVE = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
# Reduce position limits by 50%
guard.config.max_position_per_symbol_dollars *= 0.5
print('Position limits reduced')
"""
RATE = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
print(f'Orders/min: {len([t for t in guard._order_timestamps if t > datetime.now() - timedelta(minutes=1)])}')
print(f'Limit: {guard.config.max_orders_per_minute}')
"""
VIOLATIONS = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
recent = [v for v in guard.violations if v.timestamp > datetime.now() - timedelta(hours=1)]
for violation in recent:
    print(f'{violation.timestamp}: {violation.type.value} - {violation.message}')
"""
HALT = """
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance()
await guard.force_halt('Manual halt')
"""


class Notebook:
    """A kernel that knows the live system only by its environment, as an operator's does."""

    def __init__(self, environment):
        self.manager, self.client = start_new_kernel(env=environment)
        self.run("from datetime import datetime, timedelta")

    def run(self, cell):
        """What the cell printed or showed; a traceback fails the test by its last line."""
        said = []

        def hear(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            elif message["msg_type"] in {"execute_result", "display_data"}:
                said.append(content["data"].get("text/plain", ""))
            elif message["msg_type"] == "error":
                raise AssertionError(f"{content['ename']}: {content['evalue']}")

        # a cell that failed is tried again at once: with `stop_on_error` the kernel would silently skip that one
        self.client.execute_interactive(cell, timeout=60, output_hook=hear, stop_on_error=False)
        return "".join(said)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with desk(tmp_path_factory.mktemp("snippets"), speed=60) as made:
        made.start_ready()
        yield made


@pytest.fixture(scope="module")
def notebook(live):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "APCA_"))}
    made = Notebook(kept | {"ATHENA_HOME": str(live.home), "ATHENA_SIMULATOR_URL": live.url})
    yield made
    made.close()


def resumed(notebook, cell):
    """As an operator would: again while a fill between two reconciliations keeps the checklist from holding."""

    def once():
        try:
            return notebook.run(cell) or True
        except AssertionError as error:
            if "ResumeRefused" not in str(error):
                raise
            return None

    return wait_for(once, "a resume whose checklist holds", 60)


def test_status_says_that_a_started_engine_is_halted(live, notebook):
    """Guard Status: prints the live system's mode, halts and limits."""
    said = notebook.run(STATUS)
    assert said.startswith("Guard Status: GUARD HALTED")
    assert "the engine started" in said
    assert "max_daily_loss_dollars" in said
    assert "Metrics:" in said


def test_the_broker_is_asked_and_reconnected_through_the_engine(live, notebook):
    """State, uptime, health and balance are the live system's; a reconnection is done by the engine and reported."""
    assert re.search(r"alpaca: connected\nUptime: \d+\.\ds", notebook.run(BROKERS))
    assert "Reconnection: True" in notebook.run(RECONNECT)
    assert "Broker Health: alpaca" in notebook.run(HEALTH)
    assert re.search(r"Available: \$[\d,]+\.\d\d", notebook.run(BALANCE))


def test_profit_and_drawdown_are_read_from_the_journal(live, notebook):
    """Once the engine has written an equity point, both print as money and as a percentage."""

    def written():
        with live.journal() as journal:
            return journal.one("SELECT 1 FROM equity")

    wait_for(written, "an equity point", 60)
    assert re.search(r"Overnight P&L: \$-?[\d,]+\.\d\d", notebook.run(OVERNIGHT))
    assert re.search(r"Current Drawdown: -?\d+\.\d\d%", notebook.run(DRAWDOWN))


def test_is_active_enables_trading_of_the_live_engine(live, notebook):
    """guard.is_active = True resumes the engine in its own process, and orders begin to flow."""
    assert "Execution guards active" in resumed(notebook, ACTIVATE)
    assert live.guard().is_active
    wait_for(live.posts, "an order at the venue", 60)


def test_order_timestamps_compare_with_a_naive_now(live, notebook):
    """The orders of the last minute are counted against the limit."""
    said = notebook.run(RATE)
    assert int(re.search(r"Orders/min: (\d+)", said)[1]) >= 1
    assert "Limit: 10000" in said


def test_force_halt_stops_the_engine_and_resume_trading_frees_it(live, notebook):
    """await guard.force_halt() halts the running engine: no order request arrives after it, until resumed."""
    assert "Manual halt" in notebook.run(HALT)
    before = len(live.posts())
    assert not live.guard().is_active
    time.sleep(1.0)  # sixty seconds of market: a busy strategy would have ordered
    assert len(live.posts()) == before
    assert "Resumed" in resumed(notebook, RESUME_ALL)
    assert live.guard().is_active


def test_resume_of_a_symbol_leaves_other_halts(live, notebook):
    """await guard.resume_trading('AAPL') lifts AAPL's halt and not MSFT's."""
    apple, other = (live.guard().halt("spread", scope=Scope.SYMBOL, target=symbol).id for symbol in ("AAPL", "MSFT"))
    resumed(notebook, RESUME_SYMBOL)
    assert {halt.id for halt in live.guard().halts()} & {apple, other} == {other}


def test_limits_are_shown_and_halved_durably(live, notebook):
    """config.max_position_per_symbol_dollars *= 0.5 changes the live limit, on record with who did it."""
    before = live.guard().config.max_position_per_symbol_dollars
    assert f"Max Position Size: {before}" in notebook.run(LIMITS)
    assert "Position limits reduced" in notebook.run(HALVE)
    assert live.guard().config.max_position_per_symbol_dollars == before / 2
    with live.journal() as journal:
        event = list(journal.events(kinds=["limit.set"]))[-1]
    assert Decimal(event.payload["previous"]) == before
    assert Decimal(event.payload["value"]) == before / 2
    assert event.payload["by"]


def test_violations_filter_by_a_naive_now(live, notebook):
    """The recent violations print with time, type and message; MSFT's halt has refused some by now."""
    said = wait_for(lambda: notebook.run(VIOLATIONS), "a refused order", 60)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [A-Z_]+ - ", said)


def test_check_order_answers_in_a_cell(live, notebook):
    """Would it pass: judged by the engine's own quote while a kernel's loop runs, and nothing is journaled."""
    with live.journal() as journal:
        orders = journal.one("SELECT COUNT(*) FROM orders WHERE strategy = 'operator'")[0]
        notebook.run("from athena.live.check_order import check_order")
        assert "largest quantity" in notebook.run("check_order('JPM', 'buy', 1)")
        assert "QUOTE_STALE" in notebook.run("check_order('KO', 'buy', 1)")
        assert "athena start-market-data KO" in notebook.run("check_order('KO', 'buy', 1)")
        assert "not a symbol of the venue" in notebook.run("check_order('NOSUCH', 'buy', 1)")
        assert journal.one("SELECT COUNT(*) FROM orders WHERE strategy = 'operator'")[0] == orders
