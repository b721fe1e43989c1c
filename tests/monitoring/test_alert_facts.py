"""Alerts in the journal: one row from firing to end, whatever is told twice, and the same when folded again."""

from datetime import UTC, datetime, timedelta

from athena.config import Settings
from athena.core.alerts import AlertState, active_alerts, recent_alerts, unfinished_alerts
from athena.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.metrics import LiveMetrics
from athena.model import Mode, Origin, Scope
from tests.engine.processes import wait_for
from tests.journal.facts import VENUE_AT, alert


def test_an_alert_is_one_row_from_its_firing_to_its_end(tmp_path):
    """Each state is read back; a firing told twice is one alert; what ended no longer fires; the fold agrees."""
    with Journal.open(tmp_path / "home" / "j.sqlite3", "alerts") as journal:
        journal.append("alert.received", alert())
        journal.append("alert.received", alert("a2", severity="critical", name="EngineDown"))
        journal.append("alert.received", alert())
        assert [a.name for a in active_alerts(journal)] == ["EngineDown", "HighSlippage"]
        assert [a.id for a in unfinished_alerts(journal)] == ["a1", "a2"]
        journal.append("alert.running", {"ids": ["a1"], "run": "r1"})
        told = {"verdict": "STOP", "reason": "60 bps", "next_action": "halt it", "page": "reports/x.html"}
        journal.append("alert.page", {"ids": ["a1"], **told})
        journal.append("alert.notified", {"ids": ["a1"]})
        (first,) = [a for a in active_alerts(journal) if a.id == "a1"]
        assert (first.state, first.run, first.verdict, first.page) == (
            AlertState.NOTIFIED, "r1", "STOP", "reports/x.html"
        )  # fmt: skip
        assert [a.id for a in unfinished_alerts(journal)] == ["a2"]
        journal.append("alert.received", alert(status="resolved", ends_at=VENUE_AT))
        assert [a.id for a in active_alerts(journal)] == ["a2"]
        assert [a.id for a in unfinished_alerts(journal)] == ["a1", "a2"]  # its end is still to be told
        journal.append("alert.told_resolved", {"ids": ["a1"]})
        assert [a.id for a in unfinished_alerts(journal)] == ["a2"]
        assert [a.resolved_at for a in recent_alerts(journal)] == [None, VENUE_AT]
        assert journal.verify().ok


def test_an_end_that_is_still_to_be_told_is_no_alert_that_waits_for_its_page(tmp_path):
    """An alert of hours ago that ends is not "stuck for hours": only what nobody was told of yet has that age."""
    settings = Settings(home=tmp_path)
    with Journal.open(settings.journal_path, "alerts") as journal:
        journal.append("alert.received", alert())
        assert read(settings)["athena_alerts_oldest_unfinished_age_seconds"] > 0
        journal.append("alert.notified", {"ids": ["a1"]})
        journal.append("alert.received", alert(status="resolved", ends_at=VENUE_AT))
        assert [a.id for a in unfinished_alerts(journal)] == ["a1"]
        assert read(settings)["athena_alerts_oldest_unfinished_age_seconds"] == 0


def test_who_halted_trading_is_a_label_of_its_own(tmp_path):
    """An engine's start, a person, or nobody known; a symbol's halt and reduce-only stop not all trading."""
    settings = Settings(home=tmp_path)
    Journal.open(settings.journal_path, "engine").close()
    guard = ExecutionGuard.get_instance(settings)

    def halted():
        metrics = LiveMetrics(settings)
        try:
            samples = [s for family in metrics.collect() for s in family.samples if s.name == "athena_guard_halted"]
        finally:
            metrics.close()
        return {sample.labels["origin"] for sample in samples if sample.value}, len(samples)

    try:
        guard.halt("one symbol", scope=Scope.SYMBOL, target="AAPL")
        guard.halt("smaller only", mode=Mode.REDUCE_ONLY)
        assert halted() == ({"unknown"}, 6)  # no flag was ever set: nothing passes, and no halt says why
        guard.halt("the engine started", origin=Origin.STARTUP, owner="engine")
        assert halted() == ({"startup"}, 6)
        guard.halt("lunch")
        assert halted() == ({"startup", "operator"}, 6)
    finally:
        guard.close()


def test_an_engine_that_never_heard_a_quote_has_stale_data(tmp_path):
    """Without any quote the age is the engine's own, so that DataStale fires; one without symbols waits for none."""
    settings = Settings(home=tmp_path)
    name = "athena_market_data_age_seconds"
    with Journal.open(settings.journal_path, "engine") as journal:
        journal.heartbeat("engine", {"state": "running", "symbols": [], "market_data_age_seconds": None})
        assert name not in read(settings)
        journal.heartbeat("engine", {"symbols": ["AAPL"], "market_data_age_seconds": None, "speed": 1000})
        wait_for(lambda: read(settings)[name] > 60, "an age of a minute")
        journal.heartbeat("engine", {"symbols": ["AAPL"], "market_data_age_seconds": 1.5})
        assert read(settings)[name] == 1.5


def test_a_service_is_silent_only_where_it_was_to_stay_and_does_nothing(tmp_path):
    """One that never ran has no age, nor a schedule that cron wakes or that was stopped; one that is at a run lives."""
    settings = Settings(home=tmp_path)
    name = "athena_service_heartbeat_age_seconds"
    with Journal.open(settings.journal_path, "schedule") as journal:
        assert name not in read(settings)
        for told in ({"once": True}, {"once": False, "state": "stopped"}):
            journal.heartbeat("schedule", told)
            assert name not in read(settings)
        journal.heartbeat("schedule", {"once": False})
        assert read(settings)[name] > 0
        facts = {"id": "x", "job": "pre_market", "trading_date": "2026-11-25", "due_at": VENUE_AT, "claim": "c"}
        journal.append("schedule.claimed", facts | {"lease_until": datetime.now(UTC) + timedelta(minutes=1)})
        assert read(settings)[name] == 0


def read(settings):
    """Values by name, of the last labels where there are several."""
    metrics = LiveMetrics(settings)
    try:
        return {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
    finally:
        metrics.close()
