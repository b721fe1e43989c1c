"""The table of the exchange's days against the package it is from."""

import subprocess
import sys
from datetime import date

import exchange_calendars
import pytest

from athena import exchange_days

YEARS = range(1990, 2041)


@pytest.mark.filterwarnings("ignore")  # pandas tells exchange_calendars of its own coming changes
def test_the_table_is_the_packages():
    """Every session, open and close of 51 years; a year that the package has learned about since is named."""
    calendar = exchange_calendars.get_calendar("XNYS", start=f"{YEARS[0]}-01-01", end=f"{YEARS[-1]}-12-31")
    theirs = {year: {} for year in YEARS}
    for day, opens, closes in zip(calendar.sessions, calendar.opens, calendar.closes, strict=True):
        theirs[day.year][day.date()] = (opens, closes)
    assert [year for year in YEARS if exchange_days.sessions_of(year) != theirs[year]] == []


def test_a_year_beyond_the_table_is_asked_of_the_package():
    """2041 has its sessions too, with Christmas closed; asked for one of the table, the package says the same."""
    assert len(exchange_days.sessions_of(YEARS[-1] + 1)) > 250
    assert exchange_days.session_of(date(2041, 12, 25)) is None
    assert exchange_days.asked(2020) == exchange_days.sessions_of(2020)


def test_a_day_of_the_table_costs_no_import_of_pandas():
    """The engine's and the simulator's day is known at once."""
    code = (
        "import sys; from datetime import date; from athena.exchange_days import session_of\n"
        "assert session_of(date(2020, 3, 9)); print('pandas' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.stdout.strip() == "False", result.stderr
