"""Requests that go wrong: each failure says what is proven, and nothing is sent twice."""

import asyncio
import time

import pytest

from athena.errors import (
    AmbiguousSubmission,
    AuthenticationFailed,
    BrokerUnavailable,
    OrderRejected,
    RateLimited,
)
from athena.live.brokers.alpaca import AlpacaBroker
from athena.model import Purpose
from tests.support.broker import approve, settings_for
from tests.support.faulty_venue import HTML, faulty_venue, json_fault, wire_order

POST = ("POST", "/v2/orders")


@pytest.fixture
def venue():
    with faulty_venue() as one:
        yield one


async def attempt(venue, action, **settings):
    """The outcome of `action(broker)` on an unconnected broker: REST works without streams."""
    broker = AlpacaBroker(settings_for(venue.url, **settings))
    try:
        return await action(broker)
    finally:
        broker._lanes.close()


@pytest.mark.parametrize(
    "fault",
    [
        "hang",
        "reset",
        "taken+reset",
        "taken+hang",
        "taken+html",
        "taken+504",
        {"status": 500, "body": HTML},
        {"status": 200, "body": "[]", "headers": {"Content-Type": "application/json"}},
        {"status": 200, "body": ""},
        {"status": 307, "headers": {"Location": "http://127.0.0.1:1/"}},
    ],
)
def test_an_order_whose_answer_is_lost_is_ambiguous_and_never_sent_again(venue, fault):
    """Timeout, reset, 5xx, redirect and nonsense leave the order unknown after exactly one POST."""
    venue.faults[POST] = fault
    approved = approve()
    begun = time.monotonic()
    with pytest.raises(AmbiguousSubmission, match=approved.client_order_id):
        asyncio.run(attempt(venue, lambda broker: broker.submit(approved), read_timeout_seconds=0.5))
    assert time.monotonic() - begun < 4
    assert venue.count(*POST) == 1


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (json_fault(403, 40310000, "insufficient buying power"), 403, 40310000),
        ({"status": 422, "body": HTML}, 422, 0),
        ({"status": 400, "body": ""}, 400, 0),
        ({"status": 403, "body": "{}"}, 403, 0),
        ({"status": 422, "body": "[1]"}, 422, 0),
    ],
)
def test_a_refusal_is_told_with_whatever_reason_it_has(venue, fault, status, code):
    """4xx is OrderRejected with status and code, also where the body is HTML, empty or code-less."""
    venue.faults[POST] = fault
    with pytest.raises(OrderRejected) as caught:
        asyncio.run(attempt(venue, lambda broker: broker.submit(approve())))
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    "fault",
    [{"status": 401, "body": HTML}, {"status": 403, "body": '{"message": "forbidden."}'}, {"status": 401, "body": ""}],
)
def test_a_wrong_key_is_said_to_be_one(venue, fault):
    """401, and 403 that says forbidden, are AuthenticationFailed for orders and reads alike."""
    venue.faults[POST] = venue.faults["GET", "/v2/positions"] = fault
    for action in (lambda broker: broker.submit(approve()), lambda broker: broker.get_positions()):
        with pytest.raises(AuthenticationFailed, match="APCA_API"):
            asyncio.run(attempt(venue, action))


def test_a_duplicate_client_order_id_is_our_own_order(venue):
    """The order sent before, and lost, is found when it is sent again, and it exists once."""
    venue.faults[POST] = ["taken+reset"]
    approved = approve()

    async def twice(broker):
        with pytest.raises(AmbiguousSubmission):
            await broker.submit(approved)
        return await broker.submit(approved)

    order = asyncio.run(attempt(venue, twice))
    assert order.broker_order_id == venue.orders[approved.client_order_id]["id"]
    assert len(venue.orders) == 1


def test_a_dead_venue_is_unavailable_and_nothing_was_sent():
    """A refused connection proves that the order did not leave, and is told at once."""
    with faulty_venue() as venue:
        gone = venue.url
    begun = time.monotonic()
    for action in (lambda broker: broker.submit(approve()), lambda broker: broker.get_account()):
        broker = AlpacaBroker(settings_for(gone))
        with pytest.raises(BrokerUnavailable, match="cannot connect"):
            asyncio.run(action(broker))
    assert time.monotonic() - begun < 2


def test_an_order_that_cannot_leave_at_once_is_not_sent(venue):
    """Behind a hanging submit the next order gives up within a second, proven unsent; an exit has its own way out."""
    venue.faults[POST] = ["hang"]

    async def three(broker):
        first = asyncio.create_task(broker.submit(approve()))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(broker.submit(approve()))
        exit_ = await broker.submit(approve(purpose=Purpose.EXIT))
        return await asyncio.gather(first, second, return_exceptions=True), exit_

    broker = AlpacaBroker(settings_for(venue.url, read_timeout_seconds=3.0))
    (first, second), exit_ = asyncio.run(three(broker))
    broker._lanes.close()
    assert isinstance(first, AmbiguousSubmission)
    assert isinstance(second, BrokerUnavailable)
    assert exit_.client_order_id in venue.orders
    assert venue.count(*POST) == 2


def test_a_cancel_never_waits_for_a_hanging_order_or_for_reads(venue):
    """With a submit and all reads hanging, a cancel is answered in milliseconds."""
    venue.faults[POST] = venue.faults["GET", "/v2/positions"] = "hang"

    async def cancel_among(broker):
        stuck = [asyncio.create_task(broker.submit(approve()))]
        stuck += [asyncio.create_task(broker.get_positions()) for _ in range(6)]
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        result = await broker.cancel("00000000-0000-0000-0000-000000000001")
        took = time.monotonic() - begun
        await asyncio.gather(*stuck, return_exceptions=True)
        return result, took

    result, took = asyncio.run(attempt(venue, cancel_among))
    assert result.accepted
    assert took < 0.3


def test_reads_are_repeated_a_few_times_and_no_more(venue):
    """A read survives a reset and a 502, and gives up after the third failure."""
    place = ("GET", "/v2/positions")
    venue.faults[place] = ["reset", {"status": 502, "body": HTML}]
    assert asyncio.run(attempt(venue, lambda broker: broker.get_positions())) == ()
    assert venue.count(*place) == 3
    venue.faults[place] = {"status": 502, "body": HTML}
    with pytest.raises(BrokerUnavailable, match="Bad gateway"):
        asyncio.run(attempt(venue, lambda broker: broker.get_positions()))
    assert venue.count(*place) == 6


def test_a_failed_query_is_never_an_empty_answer(venue):
    """None means the venue said there is none; a proxy's 404, a 500 or a null list raises."""
    place = ("GET", "/v2/orders:by_client_order_id")
    assert asyncio.run(attempt(venue, lambda broker: broker.get_order("nobody"))) is None
    venue.faults[place] = {"status": 404, "body": HTML}
    with pytest.raises(OrderRejected):
        asyncio.run(attempt(venue, lambda broker: broker.get_order("nobody")))
    venue.faults["GET", "/v2/positions"] = {"status": 200, "body": "null"}
    with pytest.raises(BrokerUnavailable):
        asyncio.run(attempt(venue, lambda broker: broker.get_positions()))


def test_an_order_with_an_unknown_status_does_not_hide_the_others(venue):
    """Three orders, one of a status nobody knows, one unreadable: two come back, the unknown one counts as open."""
    venue.orders = {"a": wire_order(status="levitating"), "b": {"id": "b"}, "c": wire_order(status="new")}
    rows = asyncio.run(attempt(venue, lambda broker: broker.get_orders()))
    assert [order.status.value for order in rows] == ["unknown", "new"]
    assert len(rows.unreadable) == 1


def test_the_kill_switch_waits_for_no_rate_limit(venue):
    """With the limit used up for 40 s a suspension is asked for all the same, at once; lifting it is held back."""
    path = "/v2/account/configurations"
    venue.faults["GET", path] = {"status": 200, "body": '{"suspend_trade": true}'}
    venue.faults["PATCH", path] = {"status": 200, "body": "{}"}

    async def switch(broker):
        broker.headroom.held_until = time.time() + 40
        with pytest.raises(RateLimited):
            await broker.suspend_trading(False)
        asked_to_lift = len(venue.received)
        return asked_to_lift, await broker.suspend_trading(True)

    assert asyncio.run(attempt(venue, switch)) == (0, True)
    assert [method for method, _ in venue.received] == ["GET", "PATCH", "GET"]


def test_too_many_requests_are_held_back_by_the_headers(venue):
    """After a 429 a read waits for the reset when it is near, and says how long when it is far; an order is told so."""
    soon = {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 2)}
    venue.faults["GET", "/v2/positions"] = [json_fault(429, 42910000, "rate limit exceeded", **soon)]
    begun = time.monotonic()
    assert asyncio.run(attempt(venue, lambda broker: broker.get_positions())) == ()
    assert 0.5 < time.monotonic() - begun < 4
    far = soon | {"X-RateLimit-Reset": str(int(time.time()) + 40)}
    venue.faults[POST] = json_fault(429, 42910000, "rate limit exceeded", **far)

    async def limited(broker):
        with pytest.raises(RateLimited) as order:
            await broker.submit(approve())
        with pytest.raises(RateLimited):
            await broker.get_positions()
        return order.value.retry_after_seconds, broker.headroom.remaining

    retry_after, remaining = asyncio.run(attempt(venue, limited))
    assert 30 < retry_after <= 41
    assert remaining == 0
    assert venue.count(*POST) == 1


def test_a_proxy_in_the_environment_does_not_take_over_loopback(venue, monkeypatch):
    """With HTTP_PROXY set, requests to the simulator still go to the simulator."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert asyncio.run(attempt(venue, lambda broker: broker.get_positions())) == ()


def test_only_what_the_guard_approved_can_be_sent(venue):
    """submit refuses an intent, and anything else that is not an Approved."""
    with pytest.raises(TypeError, match="Approved"):
        asyncio.run(attempt(venue, lambda broker: broker.submit(approve().intent)))
    assert venue.count(*POST) == 0
