"""Kill an engine again and again while its venue goes on, and compare everything each time it is back.

After each start: no order was sent twice, none the venue has is unknown here, every execution is in the books once,
positions and cash equal the venue's to the cent, and every halt an operator set stands. At the end the chain holds.
"""

import json
import multiprocessing
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

import requests

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.journal.head import check_heads
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.model import Scope
from tests.engine.processes import Desk
from tests.recovery_engine.crashing import POINTS, engine_process

KEY = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}
SETTINGS = """
[limits]
max_messages_per_minute = "off"
max_cancels_per_minute = 100000
max_orders_per_minute = 100000
max_consecutive_losses = "off"
max_slippage_bps = "off"
limit_orders_only_slippage_bps = "off"
max_disconnect_seconds = 30
max_quote_age_seconds = 600
max_daily_loss_dollars = 1000000
max_position_per_symbol_dollars = 200000
max_order_notional_dollars = 200000
max_gross_exposure_dollars = "off"
max_net_exposure_dollars = "off"
duplicate_order_window_seconds = "off"
max_identical_executions = "off"
drawdown_reduce_size_percent = "off"
drawdown_reduce_only_percent = "off"
drawdown_halt_percent = "off"

[[strategies]]
name = "restless"
kind = "restless"
symbols = ["AAPL", "MSFT", "JPM", "XOM", "JNJ", "WMT"]
"""
SPEED = 20
READY_SECONDS, BOOKS_SECONDS, DEATH_SECONDS = 30.0, 15.0, 8.0
RANDOM = "at random"

_processes = multiprocessing.get_context("forkserver")  # imports are paid once; each engine is a process of its own
_processes.set_forkserver_preload([
    "tests.recovery_engine.crashing", "athena.live.brokers.alpaca_sockets", "athena.live.metrics", "athena.core.outbox",
    "athena.live.approvals", "athena.live.components", "athena.live.guard_acting", "athena.live.guard_gate",
    "athena.live.guard_load", "athena.live.guard_resuming", "athena.live.guardian",
])  # fmt: skip
_starting = threading.Lock()


@dataclass
class Tally:
    """What was done and found so far."""

    kills: Counter = field(default_factory=Counter)
    checks: int = 0
    orders: int = 0
    fills: int = 0
    missed: Counter = field(default_factory=Counter)  # points that did not come in time: killed at random

    def __add__(self, other):
        return Tally(
            self.kills + other.kills, self.checks + other.checks, self.orders + other.orders,
            self.fills + other.fills, self.missed + other.missed,
        )  # fmt: skip

    def __str__(self):
        lines = [f"{self.kills.total()} kills, {self.checks} comparisons, {self.orders} orders, {self.fills} fills"]
        lines += [f"{count:6} {point}" for point, count in sorted(self.kills.items())]
        return "\n".join(lines)


class Trials(Desk):
    """One simulator and the engines that die on it."""

    def __init__(self, folder, seed):
        super().__init__(folder, SPEED)
        (self.home / "athena.toml").write_text(SETTINGS)
        self.settings = Settings.load({}, home=self.home, simulator_url=self.url)
        self.chance, self.tally, self.seed = random.Random(seed), Tally(), seed
        self.web = requests.Session()
        self.web.headers.update(KEY)
        self.operators = {}  # ids of halts an operator set -> the same
        self.process = None

    def run(self, points):
        """One kill for each point named, in order, then a last start that must agree and stop by itself."""
        for point in points:
            self.one(point)
        process, said = self.begin("", 0)
        assert self.ready(process, said)
        self.compare(final=True)
        process.terminate()
        process.join(10)
        assert process.exitcode == 0, process.exitcode
        with self.reader() as journal:
            checked = journal.verify()
            assert checked.ok, str(checked)
            assert check_heads(journal, self.settings).ok
        return self.tally

    def one(self, point):
        """Start, compare with the venue, set trading free, and see it die at the point."""
        passings = 1 if "started" in point or "halt" in point else self.chance.randint(1, 3)
        process, said = self.begin("" if point == RANDOM else point, passings)
        if self.ready(process, said):
            self.compare()
            self.operate()
            seconds = self.chance.uniform(0.0, 0.4) if point == RANDOM else DEATH_SECONDS
            process.join(seconds)
        if process.exitcode is None:
            if point != RANDOM:
                self.tally.missed[point] += 1
                point = RANDOM
            process.kill()
            process.join(10)
        assert process.exitcode == -9, (point, process.exitcode)
        self.tally.kills[point] += 1

    def begin(self, point, passings):
        mine, its = _processes.Pipe(duplex=False)
        arguments = (self.home, self.url, point, passings, self.chance.randrange(1 << 30), its)
        process = _processes.Process(target=engine_process, args=arguments)
        with _starting:  # a start polls all children; the end of another thread's, read by both, would be told wrong
            process.start()
            multiprocessing.process._children.discard(process)
        its.close()
        self.process = process
        return process, mine

    def ready(self, process, said):
        """True when it is up, False when it died before."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                if said.poll(0.05):
                    line = said.recv()
                    if line.startswith("engine ready"):
                        return True
                    assert not line.startswith("REFUSED"), line
            except EOFError:
                process.join(10)
                return False
        raise AssertionError(f"no engine after {READY_SECONDS} s")

    def operate(self):
        """What an operator does: sometimes a halt of a symbol, which is to outlive everything; then resume."""
        guard = ExecutionGuard.get_instance(self.settings)
        if self.chance.random() < 0.1 and len(self.operators) < 2:
            made = guard.halt("to outlive the engine", scope=Scope.SYMBOL, target=("WMT", "JNJ")[len(self.operators)])
            self.operators[made.id] = made
        everything = [halt.id for halt in guard.halts() if halt.scope is Scope.GLOBAL]
        guard.resume(reason="test", halt_ids=everything, override=True)

    # ---------------------------------------------------------------------------------------------------- comparing

    def reader(self):
        return Journal.open(self.settings.journal_path, "test", read_only=True)

    def compare(self, *, final=False):
        """Everything equal, within seconds of the start; the engine is halted meanwhile."""
        guard = ExecutionGuard.get_instance(self.settings)
        assert not guard.flag.allows(), "a restarted engine must be halted"
        assert set(self.operators) <= {halt.id for halt in guard.halts()}, "an operator's halt is gone"
        deadline = time.monotonic() + BOOKS_SECONDS
        with self.reader() as journal:
            while (found := self.differences(journal, final)) and time.monotonic() < deadline:
                if self.process.exitcode is not None:
                    return  # it died meanwhile: the next start is compared
                time.sleep(0.05)
        assert not found, f"seed {self.seed}, after {dict(self.tally.kills)}: {found[:5]}"
        self.tally.checks += 1

    def differences(self, journal, final):
        found = []
        theirs = self.venue_orders()
        ours = {row["client_order_id"]: row for row in journal.query("SELECT * FROM orders WHERE status != 'refused'")}
        posted = [row["client_order_id"] for row in self.posts() if row["client_order_id"]]  # a torn body names none
        found += [f"sent twice: {name}" for name, times in Counter(posted).items() if times > 1]
        found += [f"sent and not journaled: {name}" for name in posted if name not in ours]
        amended = self.amended(journal)  # what was filled, less what was busted; the order's row stays as it was
        for name, order in theirs.items():
            there, row = (order["status"], Decimal(order["filled_qty"])), ours.get(name)
            here = row and (row["status"], amended.get(order["id"], Decimal(row["filled_quantity"])))
            if here != there:
                found.append(f"forgotten: {name} is {there} there, {here} here")
        for name, row in ours.items():
            if name not in theirs and row["status"] not in ("not_sent", "intended", "unknown", "rejected"):
                found.append(f"invented: {name} is {row['status']} here and not at the venue")
            if final and row["status"] in ("intended", "unknown"):
                found.append(f"never resolved: {name}")
        executed = Counter()
        for row in journal.query("SELECT client_order_id, quantity FROM fills"):
            executed[row["client_order_id"]] += Decimal(row["quantity"])
        for name, order in theirs.items():
            if order["id"] not in amended and executed[name] != Decimal(order["filled_qty"]):
                found.append(f"fills lost or doubled: {name} has {executed[name]} of {order['filled_qty']}")
        portfolio = Portfolio.from_journal(journal)
        held = {position.symbol: position.quantity for position in portfolio.positions()}
        positions = {row["symbol"]: Decimal(row["qty"]) for row in self.ask("/v2/positions")}
        if held != positions:
            found.append(f"positions: {held} here, {positions} there")
        cash = Decimal(self.ask("/v2/account")["cash"])
        if portfolio.cash != cash:
            found.append(f"cash: {portfolio.cash} here, {cash} there")
        self.tally.orders, self.tally.fills = len(theirs), len(executed)
        return found

    def amended(self, journal):
        """Shares by broker order id, of orders with corrections."""
        shares, corrected = Counter(), set()
        for row in journal.query("SELECT f.*, o.side AS way FROM fills f JOIN orders o USING (broker_order_id)"):
            shares[row["broker_order_id"]] += Decimal(row["quantity"]) * (1 if row["side"] == row["way"] else -1)
            corrected |= {row["broker_order_id"]} if row["source"] == "correction" else set()
        return {name: shares[name] for name in corrected}

    def venue_orders(self):
        found, after = {}, None
        while True:
            query = {"status": "all", "limit": 500, "direction": "asc", **({"after": after} if after else {})}
            page = self.ask("/v2/orders", query)
            fresh = {order["client_order_id"]: order for order in page}
            if fresh.keys() <= found.keys():
                return found
            found |= fresh
            after = page[-1]["submitted_at"]

    def ask(self, path, query=None):
        return self.web.get(self.url + path, params=query, timeout=5).json()

    def posts(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        rows = [json.loads(line) for line in lines]
        return [row for row in rows if row["method"] == "POST" and row["path"] == "/v2/orders"]


def plan(kills, chance):
    """Every point in turn, and as many kills at random as half of that, shuffled."""
    named = [POINTS[index % len(POINTS)] for index in range(kills * 2 // 3)]
    wanted = named + [RANDOM] * (kills - len(named))
    chance.shuffle(wanted)
    return wanted


def kill(folder, kills, seed):
    """So many kills on one simulator; raises AssertionError at the first difference that stays."""
    trials = Trials(folder, seed)
    try:
        return trials.run(plan(kills, random.Random(seed)))
    finally:
        if trials.process is not None:
            trials.process.kill()
        trials.stop_all()
        trials.stop_simulator()
        trials.web.close()
