"""The archive: what counts as latest, what is compared, what is kept; no notebook runs here."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from athena.cli import main
from athena.playbooks.archive import Archive
from athena.playbooks.changes import changes, shown
from athena.playbooks.publish import publish, write_index

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def result(day, age_days=0.0, *, name="trial", verdict="OK", succeeded=True, parameters=None, **told):
    ended = (NOW - timedelta(days=age_days)).isoformat(timespec="milliseconds")
    error = None if succeeded else {"message": "it broke", "cell": None, "source": "", "traceback": []}
    run = {
        "succeeded": succeeded, "error": error, "who": "alice", "why": "a test", "source_sha256": "0" * 64,
        "parameters": {"trading_date": day, **(parameters or {})}, "journal_sequence": 1, "started_at": ended,
        "finished_at": ended, "seconds": 1, "athena": "0", "python": "3",
    }  # fmt: skip
    words = {"question": "Does it?", "reason": f"{verdict} <b>because</b>", "action": "Nothing."}
    return {
        "playbook": name, "trading_date": day, "verdict": verdict, **words, "figures": 0, "numbers": {},
        "findings": [], "run": run, **told,
    }  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "reports")


def put(archive, record):
    folder = archive.reports / ".run-x"
    folder.mkdir(parents=True)
    paths = publish(folder, archive.reports, record, secrets=[], single_file=False)
    folder.rmdir()
    return paths


def test_latest_is_by_trading_day_and_an_old_day_rendered_again_does_not_take_its_place(archive):
    """The newest day stays 'latest'; the old day's own address moves, and its earlier run stays whole."""
    old, new = put(archive, result("2020-03-06", 2)), put(archive, result("2020-03-09", 1))
    again = put(archive, result("2020-03-06", 0))
    assert (archive.reports / "latest" / "trial.html").samefile(new["html"])
    assert (archive.reports / "2020-03-06" / "trial.html").samefile(again["html"])
    assert old["html"].exists()


def test_a_failed_run_takes_the_address_but_not_the_latest_good(archive):
    """The failed page links to the good one; once good again, nothing points to the failure."""
    good = put(archive, result("2020-03-09", 2))
    failed = put(archive, result("2020-03-09", 1, verdict="UNKNOWN", succeeded=False))
    assert (archive.reports / "latest" / "trial.html").samefile(failed["html"])
    assert (archive.reports / "latest_good" / "trial.html").samefile(good["html"])
    assert good["html"].name in failed["html"].read_text()
    assert "UNKNOWN (failed)" in (archive.reports / "index.html").read_text()
    mended = put(archive, result("2020-03-09"))
    for folder in ("2020-03-09", "latest", "latest_good"):
        assert (archive.reports / folder / "trial.html").samefile(mended["html"])


def test_runs_are_compared_only_with_the_same_parameters_and_never_with_a_failed_one(archive):
    """Another symbol's run is no predecessor, nor is one that broke."""
    put(archive, result("2020-03-05", 4, parameters={"symbol": "AAPL"}))
    put(archive, result("2020-03-06", 3, parameters={"symbol": "MSFT"}, verdict="STOP"))
    put(archive, result("2020-03-06", 2, parameters={"symbol": "AAPL"}, verdict="UNKNOWN", succeeded=False))
    last = put(archive, result("2020-03-09", 1, parameters={"symbol": "AAPL"}, verdict="STOP"))
    assert json.loads(last["json"].read_text())["changes"]["words"] == "OK → STOP, no number moved"


def test_retention_keeps_what_is_young_and_each_playbooks_latest_and_latest_good(archive):
    """Old runs go with their files and empty days; addresses never lead nowhere; a torn result is old too."""
    for name, day, age, good in (
        ("a", "2020-03-02", 40, True), ("a", "2020-03-03", 39, True), ("a", "2020-03-04", 2, False),
        ("b", "2020-03-02", 50, True),
    ):  # fmt: skip
        put(archive, result(day, age, name=name, verdict="OK" if good else "UNKNOWN", succeeded=good))
    (archive.reports / "2020-03-02" / "a.20200302T000000000Z.json").write_text("{")
    gone = archive.prune(30, NOW)
    assert sorted((entry.playbook, entry.trading_date) for entry in gone) == [("a", "2020-03-02")] * 2
    assert [(e.playbook, e.trading_date) for e in archive.entries()] == [
        ("a", "2020-03-04"), ("a", "2020-03-03"), ("b", "2020-03-02"),
    ]  # fmt: skip
    assert (archive.reports / "latest_good" / "a.html").exists()
    assert not (archive.reports / "2020-03-02" / "a.html").exists()
    assert {path.name.split(".")[0] for path in (archive.reports / "2020-03-02").iterdir()} == {"b"}


def test_reports_of_all_playbooks_are_chosen_as_of_one(archive, capsys, monkeypatch):
    """`athena reports` heeds --good, --date and --as-of also where no playbook is named; a torn run is never good."""
    put(archive, result("2020-03-06", 2, name="a"))
    put(archive, result("2020-03-09", 1, name="a", verdict="UNKNOWN", succeeded=False))
    put(archive, result("2020-03-09", 0, name="b"))
    (archive.reports / "2020-03-09" / "torn.20200309T000000000Z.json").write_text("{")
    monkeypatch.setenv("ATHENA_REPORTS", str(archive.reports))

    def listed(*asked):
        assert main(["reports", *asked, "--json", "--home", str(archive.reports.parent)]) == 0
        return [(row["playbook"], row["trading_date"]) for row in json.loads(capsys.readouterr().out)]

    assert listed("--good") == [("b", "2020-03-09"), ("a", "2020-03-06")]
    assert listed("--date", "2020-03-06") == [("a", "2020-03-06")]
    assert listed("--as-of", "2026-11-20 13:00") == [("a", "2020-03-06")]
    assert listed("a", "--good") == [("a", "2020-03-06")]
    assert len(listed()) == 4


def test_the_index_lists_a_result_it_cannot_read_as_unknown_and_escapes_what_it_can(archive):
    """A torn result neither breaks the index nor disappears from it; a broken cache is only slow; text stays text."""
    put(archive, result("2020-03-09"))
    (archive.reports / "2020-03-09" / "torn.20200309T000000000Z.json").write_text('{"verdict": "OK"')
    (archive.reports / ".runs.json").write_text("[1")
    page = write_index(archive.reports).read_text()
    assert "cannot be read" in page
    assert "OK &lt;b&gt;because" in page


def test_a_difference_names_what_fired_what_cleared_and_by_how_much_numbers_moved():
    """New rules that fire count as fired, silent ones that passed do not; unknown numbers have no difference."""
    rows = [[("x", "OK"), ("y", "STOP"), ("z", "STOP")], [("x", "STOP"), ("y", "OK"), ("z", "ATTENTION"), ("n", "OK")]]
    sides = [[{"check": check, "verdict": verdict, "observed": "7"} for check, verdict in side] for side in rows]
    found = changes(
        result("2020-03-06", findings=sides[0], numbers={"profit_usd": "1.10", "n": 3, "same": 1.0, "was_usd": 2}),
        result("2020-03-09", findings=sides[1], numbers={"profit_usd": "-2", "n": 4, "same": "1", "was_usd": None}),
    )
    assert [row["check"] for row in found["findings"]] == ["x", "y", "z"]
    assert [(row["name"], row["change"]) for row in found["numbers"]] == [
        ("profit_usd", "-3.10"), ("n", "1"), ("was_usd", None),
    ]  # fmt: skip
    assert found["words"] == "still OK, 1 check fired, 1 check cleared, 1 check changed, 3 numbers moved"
    assert (shown("profit_usd", "-2"), shown("x_fraction", 0.5), shown("n", 4.0)) == ("−$2.00", "50.00 %", "4")
