"""When the day's procedures run: daylight saving, early closes, holidays, sleep, two schedulers, crashes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from athena.cli import main
from athena.config import Settings
from athena.core import schedule
from athena.core.trading_days import TradingDays
from athena.errors import BrokerError, PlaybookError, SettingsError
from athena.journal import Journal, snapshots
from athena.journal.restored import restore
from athena.model import NEW_YORK
from athena.ops.schedule_calendar import Calendar, compare_with_broker
from athena.ops.schedule_clock import clock
from athena.ops.schedule_units import cron, systemd
from athena.ops.scheduler import Scheduler
from tests.support.simulator import running_simulator

AGREED = Calendar(True, "")


def at(text):
    """A New York wall-clock time, as an aware UTC one."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


class Desk:
    """A live system with a clock that is set by hand, and a record of what was run."""

    speed = 1.0

    def __call__(self):
        return self.now

    def __init__(self, home):
        self.settings, self.now, self.ran = Settings(home=home, operator="alice"), at("2026-11-25 07:00"), []
        self.calendar, self.ahead = AGREED, timedelta()
        self.journal = Journal.open(self.settings.journal_path, "test")

    def scheduler(self, journal=None, check=None, **work):
        def record(due):
            self.ran.append(due.id)
            return {"told": "OK"}

        return Scheduler(
            self.settings, journal or self.journal, {job: work.get(job, record) for job in schedule.JOBS},
            now=self, check=check or (lambda days, day: self.calendar),
            machine_now=lambda: datetime.now(UTC) + self.ahead,
        )  # fmt: skip

    def walk(self, scheduler, until, **step):
        """Tick from now to `until`."""
        end = at(until)
        while self.now < end:
            self.now += timedelta(**step)
            scheduler.tick()

    def messages(self):
        return [row["title"] for row in self.journal.query("SELECT title FROM notifications ORDER BY sequence")]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.journal.close()


def test_the_days_three_runs_at_new_yorks_times(desk):
    """8:00, 9:30 and 16:00 New York, each once, whatever this machine's zone and however often it is looked at."""
    desk.walk(desk.scheduler(), "2026-11-25 20:00", minutes=7)
    assert desk.ran == ["pre_market 2026-11-25", "market_open 2026-11-25", "post_market 2026-11-25"]
    due = schedule.of_day(TradingDays().on(date(2026, 11, 25)), TradingDays(), desk.settings.schedule)
    assert [f"{one.at.astimezone(UTC):%H:%M}" for one in due] == ["13:00", "14:30", "21:00"]


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        ("2026-03-06", ["13:00", "14:30", "21:00"]),  # the Friday before the clocks go forward
        ("2026-03-09", ["12:00", "13:30", "20:00"]),
        ("2026-10-30", ["12:00", "13:30", "20:00"]),  # the Friday before they go back
        ("2026-11-02", ["13:00", "14:30", "21:00"]),
        ("2026-11-27", ["13:00", "14:30", "18:00"]),  # the day after Thanksgiving closes at 13:00
        ("2026-12-24", ["13:00", "14:30", "18:00"]),
    ],
)
def test_daylight_saving_and_early_closes(day, utc):
    """The same wall-clock time in New York on both sides of a change; after an early close at its close."""
    days = TradingDays()
    due = schedule.of_day(days.on(date.fromisoformat(day)), days, Settings().schedule)
    assert [f"{one.at.astimezone(UTC):%H:%M}" for one in due] == utc


def test_nothing_runs_on_holidays_and_weekends(desk):
    """From Thanksgiving's eve to the Monday after: no run on Thursday, Saturday, Sunday; the next is said right."""
    desk.now = at("2026-11-26 00:00")
    coming = schedule.upcoming(TradingDays(), desk.settings.schedule, desk.now, 4)
    assert [one.id for one in coming] == [
        "pre_market 2026-11-27", "market_open 2026-11-27", "post_market 2026-11-27", "pre_market 2026-11-30",
    ]  # fmt: skip
    desk.walk(desk.scheduler(), "2026-11-30 07:00", minutes=45)
    assert {name.split()[1] for name in desk.ran} == {"2026-11-27"}


def test_the_override_file_wins(desk, tmp_path):
    """A closure and an early close that no package knew: no run; wrong lines are named."""
    file = tmp_path / "calendar.toml"
    file.write_text('[closed]\n2026-11-25 = "day of mourning"\n[early_close]\n2026-11-30 = "12:30"\n')
    days = TradingDays.load(desk.settings)
    assert days.on(date(2026, 11, 25)) is None
    assert days.on(date(2026, 11, 30)).closes == at("2026-11-30 12:30")
    assert TradingDays().on(date(2025, 1, 9)) is None
    for text, words in (
        ("[close]\n", "Did you mean 'closed'"),
        ('[early_close]\n2026-11-30 = "1 pm"\n', "'1 pm'"),
        ('[closed]\n2026-31-12 = "x"\n', "'2026-31-12' is not a date"),
        ("[closed\n", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=words):
            TradingDays.load(desk.settings)
    named = replace(desk.settings, schedule=replace(desk.settings.schedule, calendar_overrides=tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"there is no .*none\.toml"):
        TradingDays.load(named)


def test_a_machine_that_slept_catches_up_while_it_makes_sense(desk):
    """Awake at 8:40 the 8:00 run is made, at 9:45 it is missed and the open's is made; missed ones are told."""
    scheduler = desk.scheduler()
    desk.walk(scheduler, "2026-11-25 16:30", minutes=30)
    desk.now = at("2026-11-27 08:40")
    scheduler.tick()
    assert desk.ran[-1] == "pre_market 2026-11-27"
    desk.now = at("2026-11-30 09:45")
    told = scheduler.tick()
    assert {(one.due.id, one.status) for one in told} == {
        ("market_open 2026-11-27", "missed"), ("post_market 2026-11-27", "missed"), ("pre_market 2026-11-30", "missed"),
        ("market_open 2026-11-30", "done"),
    }  # fmt: skip
    assert scheduler.tick() == []
    assert len(desk.messages()) == 1
    assert "pre_market 2026-11-30" in desk.messages()[0]


def test_fridays_work_may_be_caught_up_on_sunday(desk):
    """After-close work takes what is closed, so it still makes sense until the next session's morning."""
    scheduler = desk.scheduler()
    desk.walk(scheduler, "2026-11-27 10:00", hours=1)
    desk.now = at("2026-11-29 18:00")
    scheduler.tick()
    assert desk.ran[-1] == "post_market 2026-11-27"


def test_a_first_start_in_the_afternoon_owes_nothing(desk):
    """A schedule that never ran before has missed nothing."""
    desk.now = at("2026-11-25 15:00")
    assert desk.scheduler().tick() == []
    assert desk.messages() == []


def test_two_schedulers_run_each_thing_once(desk):
    """Four at once, on connections of their own, at the minute: one of them does it."""
    desk.now = at("2026-11-25 08:00")
    start = threading.Barrier(4)

    def go():
        with Journal.open(desk.settings.journal_path, "other") as own:
            scheduler = desk.scheduler(own)
            start.wait(10)
            scheduler.tick()

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert desk.ran == ["pre_market 2026-11-25"]


def test_a_scheduler_killed_in_a_run_is_replaced_after_its_lease_once(desk):
    """Killed mid-run, the run is begun once more when the lease has ended; killed again it is a failure, not a loop."""
    desk.now = at("2026-11-25 08:00")

    def killed(due):
        desk.ran.append("begun")
        raise KeyboardInterrupt  # what no handler of ours catches, as a SIGKILL is not

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            desk.scheduler(pre_market=killed).tick()
        assert desk.scheduler().tick() == []  # its lease lives
        desk.ahead += timedelta(minutes=3)
    assert desk.scheduler().tick() == []
    assert desk.ran == ["begun", "begun"]
    [row] = schedule.known(desk.journal)
    assert (row["status"], row["attempts"]) == ("failed", 2)
    assert desk.messages() == ["Pre-market could not be finished"]
    assert desk.journal.rebuild(check_only=True).differences == ()


def test_a_clock_set_back_keeps_no_dead_schedulers_run(desk):
    """Died with a lease stamped three hours ahead of the clock that counts now: taken up after a lease's usual time."""
    desk.now, desk.ahead = at("2026-11-25 08:00"), timedelta(hours=3)

    def killed(due):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.scheduler(pre_market=killed).tick()
    desk.ahead = timedelta()
    assert desk.scheduler().tick() == []  # it may live: then it renews its lease
    desk.ahead = timedelta(seconds=95)
    assert [one.status for one in desk.scheduler().tick()] == ["done"]


def test_a_killed_schedulers_run_is_finished_by_the_next(desk):
    """The second beginning ends well, and that is what the record says."""
    desk.now = at("2026-11-25 08:00")
    if (child := os.fork()) == 0:  # one that gets as far as the run, and is gone
        other = Desk(desk.settings.home)
        other.now = desk.now
        other.scheduler(pre_market=lambda due: os.kill(os.getpid(), 9)).tick()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    desk.ahead = timedelta(minutes=3)
    assert [one.status for one in desk.scheduler().tick()] == ["done"]
    assert desk.ran == ["pre_market 2026-11-25"]


def test_a_run_that_fails_is_told_and_not_repeated(desk):
    """A playbook that cannot run: failed, one critical message, and the next tick leaves it alone."""
    desk.now = at("2026-11-25 08:00")

    def broken(due):
        raise PlaybookError("the report cannot be written: disk full.", "Free the disk.")

    assert [one.status for one in desk.scheduler(pre_market=broken).tick()] == ["failed"]
    assert desk.scheduler().tick() == []
    assert desk.messages() == ["Pre-market could not run"]


def test_a_defect_in_one_procedure_ends_no_schedule(desk):
    """What no procedure should raise is its failure, told; the next one runs."""
    desk.now = at("2026-11-25 08:00")
    scheduler = desk.scheduler(pre_market=lambda due: {}["defect"])
    assert [one.status for one in scheduler.tick()] == ["failed"]
    desk.walk(scheduler, "2026-11-25 10:00", minutes=30)
    assert desk.ran == ["market_open 2026-11-25"]
    assert desk.messages() == ["Pre-market could not run"]


def test_calendars_that_disagree_about_today_hold_its_runs(desk):
    """Fail closed: nothing runs and it is told once; when they agree again, what still makes sense is run."""
    desk.now = at("2026-11-25 08:00")
    desk.calendar = Calendar(False, "2026-11-25: our calendar 09:30 to 16:00, broker closed", today=True)
    scheduler = desk.scheduler()
    assert [one.status for one in scheduler.tick()] == ["held"]
    assert scheduler.tick() == []
    assert (desk.ran, len(desk.messages())) == ([], 1)
    row = desk.journal.one("SELECT body FROM notifications")
    assert "broker closed" in row["body"]
    assert "calendar.toml" in row["body"]
    desk.calendar, desk.ahead = AGREED, timedelta(minutes=11)
    scheduler.tick()
    assert desk.ran == ["pre_market 2026-11-25"]


def test_a_calendar_file_broken_overnight_holds_the_day_and_is_told(desk):
    """A typo in calendar.toml: a critical message names it, nothing runs on a guess; mended, the rest is run."""
    scheduler, file = desk.scheduler(), desk.settings.home / "calendar.toml"
    file.write_text('[closd]\n2026-12-31 = "typo"\n')
    desk.now = at("2026-11-25 08:00")
    assert [one.status for one in scheduler.tick()] == ["held"]
    row = desk.journal.one("SELECT severity, body FROM notifications")
    assert row["severity"] == "critical"
    assert "closd" in row["body"]
    assert desk.ran == []
    file.unlink()
    desk.ahead = timedelta(minutes=11)
    scheduler.tick()
    assert desk.ran == ["pre_market 2026-11-25"]


def test_a_coming_disagreement_is_told_and_holds_nothing_today(desk):
    """A difference about another day, or a broker that does not answer, is said; today's runs are made."""
    desk.now = at("2026-11-25 08:00")
    desk.calendar = Calendar(False, "2026-11-27: our calendar 09:30 to 13:00, broker 09:30 to 16:00")
    desk.scheduler().tick()
    assert desk.ran == ["pre_market 2026-11-25"]
    assert len(desk.messages()) == 1
    desk.calendar, desk.ahead, desk.now = Calendar(None, "no answer"), timedelta(hours=2), at("2026-11-25 09:31")
    desk.scheduler().tick()
    assert desk.ran[-1] == "market_open 2026-11-25"


def test_a_calendar_edited_during_the_day_is_compared_again_and_followed(desk):
    """After the calendars agreed, an early close is written into the file: asked at once, told, never run twice."""
    file, asked = desk.settings.home / "calendar.toml", []

    def check(days, day):
        asked.append(days.on(day))
        return desk.calendar

    scheduler, other = desk.scheduler(check=check), desk.scheduler(check=check)
    desk.walk(scheduler, "2026-11-25 11:00", minutes=30)
    other.tick()
    assert (desk.ran, len(asked)) == (["pre_market 2026-11-25", "market_open 2026-11-25"], 1)
    file.write_text('[early_close]\n2026-11-25 = "13:00"\n')
    desk.walk(other, "2026-11-25 13:00", minutes=10)
    assert [day.closes for day in asked[1:]] == [at("2026-11-25 13:00")]
    assert desk.ran[2:] == ["post_market 2026-11-25"]
    file.write_text('[early_close]\n2026-11-25 = "15:00"\n')
    desk.walk(scheduler, "2026-11-25 20:00", minutes=10)
    desk.walk(other, "2026-11-25 20:10", minutes=10)
    assert (len(desk.ran), len(asked)) == (3, 3)
    file.write_text("[closd]\n")
    desk.now = at("2026-11-25 20:20")
    scheduler.tick()
    assert desk.messages() == ["The trading calendar is in doubt"]


def test_an_edit_that_the_broker_denies_holds_what_is_left_of_the_day(desk):
    """Agreed in the morning, then an edit of our own file: the open's run is held though the morning's was made."""
    scheduler = desk.scheduler()
    desk.walk(scheduler, "2026-11-25 09:00", minutes=30)
    (desk.settings.home / "calendar.toml").write_text('[early_close]\n2026-11-25 = "13:00"\n')
    desk.calendar = Calendar(False, "2026-11-25: our calendar 09:30 to 13:00, broker 09:30 to 16:00", today=True)
    desk.now = at("2026-11-25 09:30")
    assert [one.status for one in scheduler.tick()] == ["held"]
    assert desk.ran == ["pre_market 2026-11-25"]


def test_a_restored_journal_runs_nothing_again_by_itself(desk, tmp_path):
    """Under way in the snapshot, or begun since: interrupted, told once, offered by hand; what comes later is run."""
    desk.now = at("2026-11-25 08:00")

    def copied(due):
        desk.ran.append(due.id)
        return {"told": str(snapshots.take(desk.journal.path, tmp_path / "snapshots").path)}

    [first] = desk.scheduler(pre_market=copied).tick()
    desk.walk(desk.scheduler(), "2026-11-25 10:00", minutes=15)
    new = tmp_path / "new.sqlite3"
    _, doubt = restore(Path(first.told), new, who="operator bob", reason="the disk died")
    assert doubt.interrupted == ("pre_market 2026-11-25",)
    desk.journal.close()
    desk.journal, desk.ahead = Journal.open(new, "test"), timedelta(hours=1)
    assert [(one.due.job, one.status) for one in desk.scheduler().tick()] == [("market_open", "interrupted")]
    assert desk.scheduler().tick() == []
    assert desk.messages() == ["Scheduled runs may have been made already"]
    body = desk.journal.one("SELECT body FROM notifications")["body"]
    assert "pre_market 2026-11-25, market_open 2026-11-25" in body
    assert {row["status"] for row in schedule.known(desk.journal)} == {"interrupted"}
    assert [one.status for one in desk.scheduler().run_now("pre_market", "bob")] == ["done"]
    desk.walk(desk.scheduler(), "2026-11-25 16:00", minutes=15)
    assert [name.split()[0] for name in desk.ran] == ["pre_market", "market_open", "pre_market", "post_market"]
    assert desk.journal.verify().ok


def test_at_390_times_the_speed_the_opens_run_waits_for_the_page_before_it(desk):
    """A page takes 25 seconds, 162 minutes of such a day: the open's run is made late, and none after the close."""
    desk.speed, desk.now = 390.0, at("2026-11-25 08:00")

    def page(due):
        desk.ran.append(due.id)
        desk.now += timedelta(seconds=25 * desk.speed)
        return {"told": "OK"}

    scheduler = desk.scheduler(pre_market=page)
    desk.now = at("2026-11-25 09:00")
    scheduler.tick()
    assert desk.now > at("2026-11-25 11:30")
    assert [one.status for one in scheduler.tick()] == ["done"]
    assert desk.ran == ["pre_market 2026-11-25", "market_open 2026-11-25"]
    desk.now = at("2026-11-27 13:30")
    assert {(one.due.job, one.status) for one in scheduler.tick()} >= {("market_open", "missed")}
    desk.speed, desk.now = 1.0, at("2026-11-30 11:30")
    assert {(one.due.job, one.status) for one in scheduler.tick()} >= {("market_open", "missed")}


def test_a_run_whose_scheduler_died_and_nobody_took_up_in_time_is_missed_and_told(desk):
    """Died in the open's run, awake after the close: it does not stay under way for ever."""
    desk.now = at("2026-11-25 09:30")

    def killed(due):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.scheduler(market_open=killed).tick()
    desk.now, desk.ahead = at("2026-11-25 15:00"), timedelta(hours=5, minutes=30)
    assert [(one.due.job, one.status) for one in desk.scheduler().tick()] == [("market_open", "missed")]
    assert desk.messages() == ["Scheduled runs were missed: market_open 2026-11-25"]
    assert desk.scheduler().tick() == []
    assert desk.journal.rebuild(check_only=True).differences == ()


def test_the_broker_and_its_time_are_asked(tmp_path):
    """Against a real simulator: its calendar agrees, an override makes it differ, and its clock is what counts."""
    with running_simulator() as simulator:
        settings = Settings(
            home=tmp_path, simulator_url=simulator.url, key_id=simulator.key, secret_key=simulator.secret
        )
        check, today = compare_with_broker(settings), date(2020, 3, 9)
        assert check(TradingDays(), today) == AGREED
        found = check(TradingDays(closed={today: "made up"}), today)
        assert (found.agrees, found.today) == (False, True)
        assert found.detail == "2020-03-09: our calendar closed, broker 09:30 to 16:00"
        assert abs(clock(settings)() - simulator.clock.now()) < timedelta(minutes=1)
    assert check(TradingDays(), today).agrees is None
    with pytest.raises(BrokerError):
        clock(replace(settings, account="other"))()
    paper = replace(settings, venue="paper")
    assert abs(clock(paper)() - datetime.now(UTC)) < timedelta(seconds=5)


def test_units_are_valid_and_fire_at_new_yorks_times(tmp_path):
    """systemd itself accepts the units and their times; the crontab's two lines are whole; odd paths and all."""
    tmp_path = tmp_path / "50% of $HOME"
    tmp_path.mkdir()
    text = systemd(Settings(home=tmp_path))
    assert "50%% of $$HOME" in text
    late = Settings(home=tmp_path, schedule=replace(Settings().schedule, post_market="16:20"))
    assert "13:20:00 America/New_York" in systemd(late)
    for part in text.split("# --- ")[1:]:
        name, _, body = part.partition("\n")
        (tmp_path / name).write_text(body)
    assert text.count("America/New_York") == 4
    assert "Persistent=true" in text
    lines = [line for line in cron(Settings(home=tmp_path)).splitlines() if not line.startswith("#")]
    assert [line.split(" ", 5)[:5] for line in lines] == [["*/5", *"****"], [*"*****"]]
    assert all(r"50\% of" in line and not re.search(r"(?<!\\)%", line) for line in lines)
    for line in lines:
        assert subprocess.run(["sh", "-n", "-c", line.split(" ", 5)[5]], check=False).returncode == 0
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: the units' syntax was not checked")
    units = [tmp_path / f"athena-{name}" for name in ("schedule.timer", "schedule.service", "courier.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *units], capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    # It reads the machine's other units too; what it says of those is theirs.
    assert (done.returncode, [line for line in done.stderr.splitlines() if "athena" in line]) == (0, [])
    spec = next(line for line in text.splitlines() if "16:00:00" in line).partition("=")[2]
    told = subprocess.run(["systemd-analyze", "calendar", spec], capture_output=True, text=True, check=True).stdout
    assert "America/New_York" in told


def test_operators_slips_are_named(tmp_path, monkeypatch, capsys):
    """A typo in a job, two options that exclude each other, a simulator that is not there: said, and nothing done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATHENA_HOME", str(tmp_path))
    monkeypatch.setenv("ATHENA_SIMULATOR_URL", "http://127.0.0.1:9")
    for words, code, told in (
        (["--run", "pre-markt"], 2, "Did you mean 'pre-market'"),
        (["--list", "--once"], 2, "exclude each other"),
        (["--list"], 5, "the simulator's time is not known"),
        (["--once"], 3, "there is no journal"),
        ([], 3, "Check --home and --account"),
    ):
        assert main(["schedule", *words]) == code
        assert told in capsys.readouterr().err
    assert not (tmp_path / "simulator" / "journal.sqlite3").exists()
