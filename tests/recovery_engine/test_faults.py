"""Each thing that can go wrong with a venue, on real processes: what Athena does, and that the books agree afterwards.

One venue and one engine live through all of it. A case waits for its evidence in the journal, lifts the fault, and then
everything must equal the venue's to the cent, with nothing sent twice.
"""

import json
import time
from datetime import datetime

import pytest

from athena.journal.codec import from_text
from athena.live.commands import request_sync
from athena.model import Scope
from tests.engine.processes import wait_for
from tests.recovery_engine.harness import SETTINGS, Trials

ORDERS = {"method": "POST", "path": "/v2/orders"}
SECONDS = 30


class Case(Trials):
    """The engine under trial, and questions to its journal since the case began."""

    def __init__(self, folder):
        super().__init__(folder, 5)
        quick = "read_timeout_seconds = 1\n" + SETTINGS.replace(
            "max_quote_age_seconds = 600", "max_quote_age_seconds = 100"
        )
        (self.home / "athena.toml").write_text(quick)
        process, said = self.begin("", 0)
        assert self.ready(process, said)
        self.said = said
        self.start()

    def start(self):
        """Trading goes, and the case begins here."""
        with self.journal() as journal:
            sql = "SELECT state FROM broker_states WHERE broker = 'alpaca' ORDER BY sequence DESC LIMIT 1"
            if journal.one(sql)["state"] != "connected":  # not yet, after the faults before
                assert request_sync(journal, "reconnect", timeout=20).ok
        guard = self.guard()
        guard.resume(reason="test", halt_ids=[halt.id for halt in guard.halts()], override=True)
        with self.reader() as journal:
            self.begun, _ = journal.head()

    def lay(self, kind, **fields):
        answer = self.web.post(f"{self.url}/simulator/faults", json={"kind": kind, **fields}, timeout=5)
        assert answer.ok, answer.text

    def lift(self):
        self.web.delete(f"{self.url}/simulator/faults", timeout=5)

    def events(self, kind, *words):
        """Payloads of events since the case began whose text holds all the words."""
        with self.reader() as journal:
            sql = "SELECT payload FROM events WHERE sequence > ? AND kind = ?"
            rows = [row["payload"] for row in journal.query(sql, (self.begun, kind))]
        return [json.loads(row) for row in rows if all(word in row for word in words)]

    def agree(self):
        """Halted, so that nothing moves, everything is equal; then trading goes on."""
        self.lift()
        self.guard().halt("the end of the case")
        deadline = time.monotonic() + SECONDS
        with self.journal() as journal:
            while time.monotonic() < deadline:
                ok = request_sync(journal, "reconcile", timeout=20).ok
                found = self.differences(journal, final=True)
                if ok and not found:
                    return
                time.sleep(0.2)
        raise AssertionError(found or "the last reconciliation is not ok")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    made = Case(tmp_path_factory.mktemp("faults"))
    yield made
    made.process.kill()
    made.process.join(10)
    made.stop_all()
    made.stop_simulator()


def updated(*words):
    return lambda case: case.events("order.updated", *words)


def noted(*words):
    return lambda case: case.events("note", *words)


def found():
    """Executions that were found by asking."""
    return lambda case: case.events("fill", '"source":"reconciliation"')


def state(stream, word):
    return lambda case: case.events("broker.state", f'"alpaca/{stream}"', f'"state":"{word}"')


UNKNOWN, NOT_SENT, REJECTED = (updated(f'"status":"{word}"') for word in ("unknown", "not_sent", "rejected"))
AFTER, BEFORE, ONCE = {"moment": "after"}, {"moment": "before"}, {"count": 1}
ORDER_STREAM = {"stream": "trading"}
CLOSES = [("external_close", {"symbol": symbol}) for symbol in ("AAPL", "JNJ", "XOM", "WMT")]
CASES = {
    "slow answers": ([("latency", ORDERS | AFTER | ONCE | {"seconds": 0.8})], updated('"source":"answer"')),
    "hangs, taken": ([("hang", ORDERS | AFTER | ONCE)], UNKNOWN),
    "hangs, not taken": ([("hang", ORDERS | BEFORE | ONCE)], NOT_SENT),
    "reset, taken": ([("reset", ORDERS | AFTER | ONCE)], UNKNOWN),
    "reset, not taken": ([("reset", ORDERS | BEFORE | ONCE)], NOT_SENT),
    "500, taken": ([("status", ORDERS | AFTER | ONCE | {"status": 500})], UNKNOWN),
    "504, not taken": ([("status", ORDERS | BEFORE | ONCE | {"status": 504})], NOT_SENT),
    "HTML, taken": ([("html", ORDERS | AFTER | ONCE)], UNKNOWN),
    "lookups fail too": (
        [("reset", ORDERS | AFTER | ONCE), ("status", {"path": "/v2/orders:by*", "status": 500, "count": 6})], UNKNOWN,
    ),
    "fills never told": ([("message_drop", ORDER_STREAM | {"event": "fill", "count": 4})], found()),
    "told twice": ([("message_duplicate", ORDER_STREAM | {"count": 20})], updated('"source":"stream"')),
    "told late": ([("message_delay", ORDER_STREAM | {"count": 5, "seconds": 0.5})], updated('"source":"stream"')),
    "told out of order": (
        [("message_reorder", ORDER_STREAM | {"count": 5, "seconds": 0.5})], updated('"source":"stream"'),
    ),
    "words unheard of": ([("message_unknown", ORDER_STREAM | {"count": 2})], noted("unreadable")),
    "torn frames": ([("message_malformed", ORDER_STREAM | {"count": 2})], state("trading", "reconnecting")),
    "streams dropped": ([("stream_drop", {})], state("trading", "reconnecting")),
    "orders refused at the handshake": (
        [("stream_refuse", ORDER_STREAM | {"lasts_seconds": 2}), ("stream_drop", ORDER_STREAM)],
        state("trading", "error"),
    ),
    "data refused after authentication": (
        [("stream_refuse", {"stream": "data", "lasts_seconds": 1.5}), ("stream_drop", {"stream": "data"})],
        state("data", "error"),
    ),
    "the venue restarts its streams": ([("stream_restart", {"lasts_seconds": 1.5})], state("trading", "reconnecting")),
    "orders dead, no pong": ([("stream_mute", ORDER_STREAM | {"pings": False})], state("trading", "reconnecting")),
    "orders mute, pings answered": ([("stream_mute", ORDER_STREAM)], noted("the streams are opened anew")),
    "data mute, pings answered": ([("stream_mute", {"stream": "data"})], noted("the venue has newer ones")),
    "data stale, trading works": ([("data_stale", {})], noted("the venue has no newer ones")),
    "trading stale, data works": ([("trading_stale", {})], found()),
    "a cancel races a fill": ([("cancel_race", {"count": 1})], updated('"status":"pending_cancel"')),
    "a trade busted": ([("trade_bust", {})], noted("trade_bust", "corrected by events")),
    "a trade corrected": ([("trade_correct", {"price": "91.5"})], noted("trade_correct", "corrected by events")),
    "symbol delisted": ([("symbol_delist", {"symbol": "JPM"})], REJECTED),
    "no buying power": ([("no_buying_power", {})], REJECTED),
    "orders blocked": ([("trading_blocked", {})], lambda case: case.events("halt.set", "trading is blocked")),
    "clocks differ": ([("clock_skew", {"seconds": -20})], updated('"source":"stream"')),
    "somebody else's order": (
        [("external_order", {"symbol": "WMT", "side": "buy", "quantity": "7"})], noted("an order from outside"),
    ),
    "somebody else closes": (CLOSES, noted("an order from outside")),
}  # fmt: skip


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", CASES)
def test_whatever_the_venue_does_athena_knows_the_truth_again(case, name):
    """The fault leaves its evidence in the journal, and the books agree once it is over; nothing was sent twice."""
    faults, evidence = CASES[name]
    case.lift()
    case.start()
    for kind, fields in faults:
        case.lay(kind, **fields)
    wait_for(lambda: evidence(case), f"the evidence of '{name}'", SECONDS)
    case.agree()


@pytest.mark.timeout(90)
def test_a_symbol_the_venue_halts_rests_while_the_others_trade(case):
    """Nothing executes in it from then on, the other symbols go on, and the books agree once it trades again."""
    case.lift()
    case.start()
    case.lay("symbol_halt", symbol="JPM", lasts_seconds=60)  # `agree` lifts it
    since = datetime.fromisoformat(case.ask("/v2/clock")["timestamp"])

    def fills(mine):
        found = [fill for fill in case.events("fill") if (fill["symbol"] == "JPM") is mine]
        return [fill for fill in found if from_text(fill["at"]) > since]

    wait_for(lambda: len(fills(False)) >= 3, "the others' fills", SECONDS)
    assert fills(True) == []
    case.agree()


@pytest.mark.timeout(90)
def test_a_used_up_rate_limit_is_waited_out_and_nothing_is_concluded_meanwhile(case):
    """429 with a window that ends in 12 s: the order is not sent, no look counts, an operator's exit is tried."""
    case.lift()
    case.start()
    wait_for(lambda: case.ask("/v2/positions"), "a position", SECONDS)
    case.lay("status", **ORDERS, **ONCE, status=429, seconds=12)  # a read waits five of them by itself
    (refused, *_) = wait_for(lambda: case.events("order.updated", '"status":"not_sent"', "429"), "the 429", SECONDS)
    with case.journal() as journal:
        told = request_sync(journal, "reconcile", timeout=20)
        assert not told.ok
        assert "rate limit" in told.message
        assert case.events("halt.set") == []

        def exits():  # the strategies may have closed one themselves; on a busy machine fills are late
            held = case.ask("/v2/positions")
            return held and request_sync(journal, "close_position", {"symbol": held[0]["symbol"]}, timeout=20).ok

        wait_for(exits, "the exit", SECONDS)
        wait_for(lambda: request_sync(journal, "reconcile", timeout=20).ok, "a look that counts", SECONDS)
    assert refused["client_order_id"] not in case.venue_orders()
    assert case.events("order.intended")[-1]["client_order_id"] != refused["client_order_id"], "trading goes on"
    case.agree()


def test_an_operators_halt_outlived_it_all(case):
    """A symbol halted by an operator is still halted after a fault and its repair."""
    made = case.guard().halt("mine", scope=Scope.SYMBOL, target="XOM")
    case.lay("stream_drop")
    wait_for(lambda: state("trading", "connected")(case), "the stream to be back", SECONDS)
    with case.journal() as journal:
        wait_for(lambda: request_sync(journal, "reconcile").ok, "books that agree", SECONDS)
    assert made.id in {halt.id for halt in case.guard().halts()}
