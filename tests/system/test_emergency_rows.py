"""An emergency stop proves itself by what the venue lists: the unread is not gone, the unanswered is asked again."""

import asyncio
from decimal import Decimal

import pytest

from athena.errors import AuthenticationFailed, BrokerUnavailable, OrderRejected, RateLimited
from athena.live.brokers.base import Rows, Unreadable
from athena.model import Position
from athena.ops import emergency


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses as short as this venue is quick."""
    for name, seconds in (("ASK_AGAIN_SECONDS", 0.1), ("FIRST_PAUSE_SECONDS", 0.05), ("PAUSE_SECONDS_MAX", 0.1)):
        monkeypatch.setattr(emergency, name, seconds)
    monkeypatch.setattr(emergency, "CLOSES_A_SECOND", 100)


class Venue:
    """A venue with one open order and one position, told in a way that cannot be read."""

    async def cancel_all(self):
        return Rows()

    async def get_orders(self, status):
        return Rows((), [Unreadable("orders", "side is 'cross'", "{...}")])

    async def get_positions(self):
        return Rows((), [Unreadable("positions", "qty is 'ten'", "{...}")])


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (emergency._cancel_all, "side is 'cross'"),
        (emergency._flatten, "qty is 'ten'"),
        (emergency._list_orders, "side is 'cross'"),
        (emergency._list_positions, "qty is 'ten'"),
    ],
)
def test_what_cannot_be_read_is_neither_cancelled_nor_closed_nor_absent(step, says, monkeypatch):
    """The step is not proven, and says what the venue told."""
    monkeypatch.setattr(emergency, "CONFIRM_SECONDS", 0.2)
    proven, proof = asyncio.run(step(Venue()))
    assert not proven
    assert says in proof


class Troubled:
    """A venue with three positions whose requests fail, each as often as `troubles` says, before they succeed."""

    def __init__(self, **troubles):
        self.troubles, self.asked = troubles, []
        self.held = {"AAPL": Decimal(100), "MSFT": Decimal(50), "TSLA": Decimal(-70)}

    def ask(self, what):
        self.asked.append(what)
        if self.troubles.get(what):
            raise self.troubles[what].pop(0)

    async def cancel_all(self):
        self.ask("cancel_all")
        return Rows()

    async def get_orders(self, status):
        self.ask("get_orders")
        return Rows()

    async def get_positions(self):
        self.ask("get_positions")
        return Rows(Position(symbol, shares, Decimal(1)) for symbol, shares in self.held.items())

    async def close_position(self, symbol):
        self.ask(symbol)
        del self.held[symbol]
        return "order 1 accepted"

    async def suspend_trading(self, suspend):
        self.ask("suspend_trading")
        return suspend


@pytest.mark.parametrize(
    ("step", "troubles"),
    [
        (emergency._cancel_all, {"cancel_all": [BrokerUnavailable("HTTP 504.")]}),
        (emergency._cancel_all, {"get_orders": [BrokerUnavailable("no answer in time.")]}),
        (emergency._flatten, {"AAPL": [BrokerUnavailable("no answer in time.")]}),
        (emergency._flatten, {"AAPL": [OrderRejected("insufficient qty available.", "", 403)] * 2}),
        (emergency._flatten, {"get_positions": [BrokerUnavailable("no answer in time.")]}),
        (emergency._suspend, {"suspend_trading": [BrokerUnavailable("HTTP 504.")]}),
        (emergency._suspend, {"suspend_trading": [RateLimited("used up.", "", 0.3)] * 3}),
    ],
)
def test_a_request_that_fails_is_asked_again_and_the_step_is_proven(step, troubles):
    """A lost answer, a refusal while shares are held and a rate limit end one request, not the step."""
    venue = Troubled(**{what: list(errors) for what, errors in troubles.items()})
    proven, proof = asyncio.run(step(venue))
    assert proven, proof
    assert not any(venue.troubles.values())
    if step is emergency._flatten:
        assert venue.held == {}
        assert [venue.asked.count(symbol) for symbol in ("MSFT", "TSLA")] == [1, 1]


def test_the_other_positions_are_closed_although_one_stays(monkeypatch):
    """One position the venue never closes keeps no other open; the step fails with the venue's last reason."""
    monkeypatch.setattr(emergency, "CONFIRM_SECONDS", 0.3)
    venue = Troubled(AAPL=[OrderRejected("AAPL is halted.", "", 403)] * 9)
    proven, proof = asyncio.run(emergency._flatten(venue))
    assert (proven, proof) == (False, "still held: +100 AAPL (AAPL is halted.)")
    assert list(venue.held) == ["AAPL"]


def test_a_rate_limit_is_waited_out_and_a_wrong_key_is_not(monkeypatch):
    """A step goes on past its time until the limit's end, by the venue's word; what no asking mends ends it at once."""
    monkeypatch.setattr(emergency, "CONFIRM_SECONDS", 0.05)
    limited = Troubled(
        cancel_all=[RateLimited("used up.", "", 0.6)] * 2, get_orders=[RateLimited("used up.", "", 0.6)] * 2
    )
    assert asyncio.run(emergency._cancel_all(limited))[0]
    wrong = Troubled(suspend_trading=[AuthenticationFailed("the key is wrong.")])
    with pytest.raises(AuthenticationFailed):
        asyncio.run(emergency._suspend(wrong))
    assert wrong.asked == ["suspend_trading"]
