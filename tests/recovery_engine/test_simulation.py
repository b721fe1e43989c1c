"""Seeded days of faults, crashes, busts, outsiders and halts: no promise is broken, and a seed repeats a failure."""

from tests.recovery_engine.simulation import live

DAYS = 100


def test_on_no_day_does_anything_pass_a_halt_and_every_evening_the_books_are_the_venues(tmp_path):
    """A hundred days, the same each time: sends judged by a second opinion, counters equal, reconciliation at rest."""
    days, orders, restarts = live(tmp_path, range(DAYS))
    assert days == DAYS
    assert orders > 5 * DAYS
    assert restarts > DAYS // 4
