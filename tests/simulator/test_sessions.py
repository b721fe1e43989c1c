"""Trading days, and the clocks that run over them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from athena.errors import SimulatorError
from athena.model import NEW_YORK
from athena.simulator import sessions
from athena.simulator.clock import ManualClock, VenueClock


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


def test_a_usual_day_is_open_from_half_past_nine_to_four() -> None:
    """Regular hours are [9:30, 16:00) and extended hours 4:00 to 20:00 New York."""
    day = sessions.session_on(date(2020, 3, 9))
    assert day is not None
    assert (day.open, day.close) == (new_york(2020, 3, 9, 9, 30), new_york(2020, 3, 9, 16))
    assert (day.extended_open, day.extended_close) == (new_york(2020, 3, 9, 4), new_york(2020, 3, 9, 20))
    assert [sessions.is_open(new_york(2020, 3, 9, *at)) for at in ((9, 29), (9, 30), (15, 59), (16, 0))] == [
        False, True, True, False,
    ]  # fmt: skip
    assert sessions.is_extended(new_york(2020, 3, 9, 4))
    assert not sessions.is_extended(new_york(2020, 3, 9, 20))


def test_holidays_and_early_closes_are_the_exchanges() -> None:
    """Good Friday 2020 is closed; Christmas Eve 2019 closes at 13:00 and its evening ends at 17:00."""
    assert sessions.session_on(date(2020, 4, 10)) is None
    eve = sessions.session_on(date(2019, 12, 24))
    assert eve is not None
    assert eve.is_early_close
    assert (eve.close, eve.extended_close) == (new_york(2019, 12, 24, 13), new_york(2019, 12, 24, 17))


def test_neighbours_cross_weekends_and_years() -> None:
    """Next and previous skip closed days, into another year too."""
    friday_evening = new_york(2020, 3, 6, 18)
    assert sessions.next_open(friday_evening) == new_york(2020, 3, 9, 9, 30)  # the clocks changed in between
    assert sessions.next_close(friday_evening) == new_york(2020, 3, 9, 16)
    assert sessions.next_close(new_york(2020, 3, 9, 12)) == new_york(2020, 3, 9, 16)
    assert sessions.next_session(date(2019, 12, 31)).date == date(2020, 1, 2)
    assert sessions.previous_session(date(2020, 1, 2)).date == date(2019, 12, 31)
    assert len(list(sessions.sessions_between(date(2019, 12, 30), date(2020, 1, 3)))) == 4


def test_the_venue_clock_runs_at_its_speed() -> None:
    """At speed 390 a machine second is six and a half venue minutes."""
    machine = [100.0]
    clock = VenueClock(new_york(2020, 3, 9, 9, 30), 390, machine=lambda: machine[0])
    machine[0] += 30
    assert clock.now() == new_york(2020, 3, 9, 12, 45)
    assert clock.now().tzinfo is UTC


def test_closed_hours_can_be_skipped() -> None:
    """With skip_closed the clock goes from five past the close to 9:25 of the next trading day, losing no time."""
    machine = [0.0]
    clock = VenueClock(new_york(2020, 3, 6, 3), 60, skip_closed=True, machine=lambda: machine[0])
    assert clock.now() == new_york(2020, 3, 6, 9, 25)
    machine[0] = 400  # the window is 400 venue minutes long
    assert clock.now() == new_york(2020, 3, 6, 16, 5)
    machine[0] = 410
    assert clock.now() == new_york(2020, 3, 9, 9, 35)
    machine[0] = 410 + 2 * 400  # two more windows on
    assert clock.now() == new_york(2020, 3, 11, 9, 35)


def test_clocks_refuse_what_is_not_a_time_or_a_speed() -> None:
    """Naive starts, speeds that are not positive numbers and steps back are refused."""
    with pytest.raises(SimulatorError, match="zone"):
        VenueClock(datetime(2020, 3, 9))  # noqa: DTZ001 (what is refused)
    for speed in (0, -1, float("nan"), float("inf")):
        with pytest.raises(SimulatorError, match="positive"):
            VenueClock(new_york(2020, 3, 9), speed)
    manual = ManualClock(new_york(2020, 3, 9, 10))
    manual.advance(minutes=5)
    assert manual.now() == new_york(2020, 3, 9, 10, 5)
    with pytest.raises(SimulatorError, match="back"):
        manual.set(manual.now() - timedelta(seconds=1))
