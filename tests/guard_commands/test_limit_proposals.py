"""Proposals from evidence, and the what-if: the record repeats itself, a candidate refuses exactly what it should."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd

from athena.analysis.assessment import Verdict
from athena.analysis.limits_replay import ALL, assess, newly_refused
from athena.journal import Journal
from athena.live.limit_proposals import Evidence, propose
from athena.live.limit_replay import load_record, replay
from athena.live.limits import LIMITS, effective
from athena.model import OrderStatus, Side
from athena.ops.guard_scratch import SYMBOL, ScratchGuard
from athena.playbooks.proposing import daily_pnl, replayed, what_if
from athena.simulator.synthetic import SyntheticTape
from tests.guard.conftest import NOON, make_journal, settings_in

TAPE = SyntheticTape(7, (SYMBOL,))
D = Decimal


def record_of(work, **facts):
    """The journal of what `work(desk)` did with a guard of its own."""

    async def run():
        async with ScratchGuard(TAPE, **facts) as desk:
            await work(desk)
            return load_record(desk.guard.journal), desk.guard.gate.book.equity

    return asyncio.run(run())


async def a_busy_day(desk):
    """Orders small and large, one at rest and cancelled, some refused, a halt, a changed limit, a tier of slippage."""
    for quantity in (10, 50, 20, 100, 5):
        await desk.send(desk.intent(Side.BUY, quantity))
        await desk.step(30)
    await desk.send(desk.intent(Side.BUY, 1000))  # refused: too large
    await desk.send(desk.intent(Side.BUY, 10, desk.quote.bid * D("0.98")))
    await desk.send(desk.intent(Side.SELL, 10, desk.quote.bid * D("0.97")))  # refused: could cross it
    await desk.broker.cancel_all()
    await desk.step(30)
    desk.limit("max_order_quantity", 60)
    await desk.send(desk.intent(Side.SELL, 80))  # refused by the new limit
    desk.guard.halt("lunch")
    await desk.send(desk.intent(Side.SELL, 10))  # refused by the halt
    desk.resume()
    for _ in range(4):
        await desk.send(desk.intent(Side.SELL, 40))
        await desk.step(30)


def test_replay_repeats_the_record():
    """Under the limits of its time every journaled order gets the answer it got."""
    record, _ = record_of(a_busy_day)
    judged = replay(record)
    assert len(judged) == 14
    assert {one.recorded for one in judged} >= {"", "ORDER_NOTIONAL", "SELF_CROSSING", "ORDER_QUANTITY", "GUARD_HALTED"}
    assert [(one.recorded, one.replayed) for one in judged if one.recorded != one.replayed] == []


def test_an_order_that_a_reconciliation_opened_again_counts_in_the_replay_too():
    """Ended, then found open: what could cross it is refused, in the record and in its repetition."""

    async def reopened(desk):
        await desk.send(desk.intent(Side.BUY, 10, desk.quote.bid * D("0.98")))
        order, now = (await desk.broker.get_orders("open"))[0], desk.clock.now()
        for told, more in ((replace(order, status=OrderStatus.CANCELED), {}), (order, {"reopened": True})):
            desk.orders.take(told, None, "reconciliation", now, **more)
            desk.guard.on_order(told)
        await desk.send(desk.intent(Side.SELL, 10, desk.quote.bid * D("0.97")))

    record, _ = record_of(reopened)
    assert [(one.recorded, one.replayed) for one in replay(record)] == [("", ""), ("SELF_CROSSING", "SELF_CROSSING")]


def test_a_candidate_refuses_what_is_beyond_it_and_only_that():
    """An order above the candidate is refused; later ones meet a book without its fills."""
    record, _ = record_of(a_busy_day)
    judged = replay(record, {("max_order_quantity", ""): D(45)})
    refused = [one for one in judged if not one.recorded and one.replayed]
    assert [(one.quantity, one.replayed) for one in refused] == [(D(50), "ORDER_QUANTITY"), (D(100), "ORDER_QUANTITY")]
    tight = replay(record, {("max_position_per_symbol_dollars", "symbol:AAPL"): D(2000)})
    first = next(one for one in tight if not one.recorded and one.replayed)
    assert (first.quantity, first.replayed) == (D(50), "POSITION_LIMIT")  # 60 shares at $65
    after = next(one for one in tight if one.sequence > first.sequence)
    assert (after.quantity, after.replayed) == (D(20), "")  # 30 shares: the refused 50 were never bought
    assert [one.replayed for one in replay(record, {("max_order_quantity", "symbol:MSFT"): D(1)})] == [
        one.recorded for one in judged
    ]


def test_daily_loss_candidate_acts_from_the_order_after_the_loss():
    """The loss is followed through the replayed fills: entries before it pass, entries after it do not."""

    async def lose(desk):
        desk.limit("max_consecutive_losses", "off")
        for _ in range(6):
            await desk.round_trips(100)

    record, _ = record_of(lose)
    judged = replay(record, {("max_daily_loss_dollars", ""): D(1)})
    codes = [one.replayed for one in judged if one.side == "buy"]
    assert codes[0] == ""
    assert "DAILY_LOSS" in codes
    assert codes[codes.index("DAILY_LOSS") :] == ["DAILY_LOSS"] * codes.count("DAILY_LOSS")


def test_assessment_names_each_candidates_cost():
    """A candidate that refuses many is ATTENTION, one that refuses none is OK, and the table counts them."""
    record, _ = record_of(a_busy_day)
    evidence = Evidence(D(100_000), {}, {SYMBOL: 0.01}, busiest_minute=1)
    found = propose(evidence, {})
    report = what_if(record, found, {"account": "drill"})
    assert report.verdict is Verdict.OK
    base = replayed(replay(record))
    strict = {"tiny": replayed(replay(record, {("max_order_quantity", ""): D(1)}))}
    judged = assess(base, strict | {ALL: strict["tiny"]}, {"tiny": "10000 to 1 shares"}, {})
    assert judged.verdict is Verdict.ATTENTION
    assert judged.numbers["refused, tiny"] == len(newly_refused(strict["tiny"], base)) > 5
    rows = judged["effects"].tables[0].to_dict()["rows"]
    assert rows[0]["codes"].startswith("ORDER_QUANTITY")
    assert judged.to_dict()["verdict"] == "ATTENTION"


def test_a_replay_that_does_not_repeat_the_record_is_unknown():
    """A what-if whose baseline contradicts the record is not leaned upon, and neither is an empty one."""
    record, _ = record_of(a_busy_day)
    base = replayed(replay(record))
    wrong = base.assign(replayed="ORDER_RATE")
    assert assess(wrong, {}, {}, {}).verdict is Verdict.UNKNOWN
    assert assess(pd.DataFrame(columns=base.columns), {}, {}, {}).verdict is Verdict.UNKNOWN


DAYS = {date(2020, 3, day): D(pnl) for day, pnl in ((2, 300), (3, -200), (4, 100), (5, -400), (6, -250))}
EVIDENCE = Evidence(
    D(100_000), DAYS, {"AAPL": 0.02, "MSFT": 0.02, "XOM": 0.05}, {"AAPL": D(1_000_000), "THIN": D(20_000)}, 12
)


def test_proposals_follow_the_evidence_in_bounded_steps():
    """Each proposal is between half and a quarter more of what it was, with its numbers in the reason."""
    found = propose(EVIDENCE, {})
    by_name = {(p.name, p.target): p for p in found}
    loss = by_name["max_daily_loss_dollars", ""]
    assert loss.proposed == 1000  # 3 x $250, less a quarter for three losing days, halved at most
    assert "$250.00" in loss.reason
    assert by_name["max_order_quantity", "symbol:THIN"].proposed == 5000  # 0.5 % of 20,000 is 100, halved at most
    assert ("max_order_quantity", "symbol:AAPL") in by_name  # 0.5 % of 1,000,000 is 5,000
    assert by_name["max_orders_per_minute", ""].proposed == 30
    for one in found:
        assert isinstance(one.current, Decimal | int)
        assert one.current / 2 <= one.proposed <= one.current * D("1.25")
        assert LIMITS[one.name].low <= one.proposed <= LIMITS[one.name].high


def test_a_volatile_symbol_gets_a_stricter_override():
    """Where the general limit has settled, the symbol that moves more than the others gets less."""
    values = {("max_position_per_symbol_dollars", ""): D(3000), ("max_daily_loss_dollars", ""): D(600)}
    found = {(p.name, p.target): p for p in propose(EVIDENCE, values)}
    override = found["max_position_per_symbol_dollars", "symbol:XOM"]
    of_all = found.get(("max_position_per_symbol_dollars", ""))
    general = of_all.proposed if of_all else values["max_position_per_symbol_dollars", ""]
    assert override.proposed < general
    assert "XOM" in override.reason
    assert effective(values | {(override.name, override.target): override.proposed}, "XOM")[override.name] < general


def test_without_evidence_nothing_is_proposed():
    """No days, no prices, no orders: no guess."""
    assert propose(Evidence(None, {}, {}), {}) == ()
    assert propose(Evidence(D(0), DAYS, {}), {}) == ()


def test_what_an_accounts_transfer_brings_is_no_days_profit(tmp_path):
    """A day's profit leaves out cash that came from another broker."""
    settings = settings_in(tmp_path)
    make_journal(settings)
    at = NOON + timedelta(minutes=1)
    with Journal.open(settings.journal_path, "test") as journal:
        journal.append("cash_flow", {"id": "f", "kind": "ACATC", "amount": 50_000, "at": at, "description": ""}, at)
        journal.append(
            "equity", {"equity": 150_007, "cash": 0, "realised_pnl": 0, "unrealised_pnl": 0, "marks": {}}, at
        )
        assert daily_pnl(journal) == {date(2020, 3, 9): 7}
