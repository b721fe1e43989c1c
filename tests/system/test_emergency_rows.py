"""An emergency stop proves itself by what the venue lists: what cannot be read is not gone."""

import asyncio

import pytest

from athena.live.brokers.base import Rows, Unreadable
from athena.ops import emergency


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
