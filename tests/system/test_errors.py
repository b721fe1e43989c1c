"""What an operator sees when a start goes wrong: one message with a next step, an exit code, and nothing lost."""

import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
import requests

from athena.config import Settings
from athena.journal.journal import Journal
from tests.engine.processes import desk, wait_for
from tests.support.simulator import running_simulator


def athena(home, *arguments, limit_bytes=None, **environment):
    """Run a command to its end, optionally unable to write any file past so many bytes."""

    def limited():
        if limit_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "APCA_"))}
    return subprocess.run(
        [sys.executable, "-m", "athena.cli", *arguments],
        env=kept | {"ATHENA_HOME": str(home), **environment},
        capture_output=True, text=True, timeout=60, preexec_fn=limited,
    )  # fmt: skip


def check(result, code, *words):
    """One message that says all the words, a next step, no traceback."""
    assert result.returncode == code, result.stdout + result.stderr
    told = result.stderr
    assert "Traceback" not in told
    assert "next:" in told
    for word in words:
        assert word in told
    assert len(told.strip().splitlines()) <= 3


def test_a_port_in_use_is_named(tmp_path):
    """The simulator says which port is taken and offers another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check(athena(tmp_path, "simulator", "--port", str(port)), 7, f"Port {port}", "in use", f"--port {port + 1}")


def test_a_malformed_quote_file_is_refused_with_file_line_and_reason(tmp_path):
    """A bid above its ask on the third line is named as such."""
    rows = ["symbol,timestamp,bid,ask,bid_size,ask_size", "AAPL,2020-03-09T13:30:00Z,10,11,1,1"]
    (tmp_path / "q.csv").write_text("\n".join([*rows, "AAPL,2020-03-09T13:30:01Z,12,11,1,1\n"]))
    check(athena(tmp_path, "simulator", "--replay", str(tmp_path / "q.csv")), 7, "q.csv", "line 3", "bid")


def test_a_dead_simulator_is_said_by_the_engine(tmp_path):
    """Without a venue the engine ends with its address and what to do, and leaves a journal that verifies."""
    url = "http://127.0.0.1:9"
    check(athena(tmp_path, "engine", ATHENA_SIMULATOR_URL=url), 5, "cannot connect", "127.0.0.1:9")


def test_a_wrong_key_is_said_as_such(tmp_path):
    """An engine with a key the venue does not know ends at once, and names the variables to look at."""
    with running_simulator() as simulator:
        result = athena(
            tmp_path, "engine", ATHENA_SIMULATOR_URL=simulator.url, ATHENA_KEY_ID="WRONG", ATHENA_SECRET_KEY="no"
        )
    check(result, 5, "not authorized", "APCA_API_KEY_ID")


def test_an_unknown_symbol_is_refused_before_anything_runs(tmp_path):
    """A strategy in a symbol the venue does not have keeps the engine from starting, and the symbol is named."""
    (tmp_path / "athena.toml").write_text('[[strategies]]\nname = "m"\nkind = "momentum"\nsymbols = ["NOSUCH"]\n')
    with running_simulator() as simulator:
        engine = athena(tmp_path, "engine", ATHENA_SIMULATOR_URL=simulator.url)
        validate = athena(tmp_path, "validate-strategies", ATHENA_SIMULATOR_URL=simulator.url)
    check(engine, 2, "NOSUCH", "strategy m")
    assert validate.returncode == 2
    assert "NOSUCH" in validate.stdout


def test_a_wrong_strategy_and_a_wrong_limit_are_named(tmp_path):
    """A misspelt parameter and a misspelt limit give their nearest names."""
    table = '[[strategies]]\nname = "m"\nkind = "momentum"\nsymbols = ["AAPL"]\nwarmup_second = 5\n'
    (tmp_path / "athena.toml").write_text(table)
    check(athena(tmp_path, "engine"), 2, "warmup_second", "warmup_seconds")
    (tmp_path / "athena.toml").write_text("[limits]\nmax_daily_los_dollars = 5\n")
    with running_simulator() as simulator:
        result = athena(tmp_path, "engine", ATHENA_SIMULATOR_URL=simulator.url)
    check(result, 4, "max_daily_los_dollars", "max_daily_loss_dollars")


@pytest.mark.parametrize("command", ["status", "engine", "verify-journal", "resume", "limits"])
def test_a_corrupt_journal_is_left_as_it_is_and_said(tmp_path, command):
    """Every command names the damaged file and does not touch it."""
    journal = tmp_path / "simulator" / "journal.sqlite3"
    journal.parent.mkdir()
    journal.write_bytes(b"this was a journal once" * 2000)
    before = journal.read_bytes()
    words = [command, "why"] if command == "resume" else [command]
    check(athena(tmp_path, *words), 3, "journal.sqlite3", "not a database")
    assert journal.read_bytes() == before


def test_a_halt_holds_although_the_journal_is_corrupt(tmp_path):
    """With the journal gone the flag still halts, and the operator is told that only the record failed."""
    journal = tmp_path / "simulator" / "journal.sqlite3"
    journal.parent.mkdir()
    journal.write_bytes(b"this was a journal once" * 2000)
    check(athena(tmp_path, "halt", "now"), 4, "IS halted", "could not be journaled")


def venue_time(live):
    """The venue's time by its clock."""
    keys = {"APCA-API-KEY-ID": live.settings.key_id, "APCA-API-SECRET-KEY": live.settings.secret_key}
    answer = requests.get(live.url + "/v2/clock", headers=keys, timeout=10).json()
    return datetime.fromisoformat(answer["timestamp"])


def test_a_full_disk_stops_trading_and_loses_nothing(tmp_path):
    """An engine whose disk fills up mid-session stops sending; what was journaled before still verifies."""
    with desk(tmp_path) as live:
        live.start_ready()
        live.guard().resume(reason="test")
        wait_for(lambda: len(live.posts()) > 3, "orders")
        engine = live.engines[0]
        wal = live.settings.journal_path.with_name("journal.sqlite3-wal")
        size = max(live.settings.journal_path.stat().st_size, wal.stat().st_size)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (size, size))
        wait_for(lambda: not live.guard().flag.allows(), "the guard to refuse")
        sent, until = len(live.posts()), venue_time(live) + timedelta(minutes=5)
        wait_for(lambda: venue_time(live) > until, "five minutes of trading that is not")
        journaled = Journal.open(live.settings.journal_path, actor="test", read_only=True)
        with journaled:
            known = journaled.one("SELECT COUNT(*) AS n FROM orders WHERE status != 'refused'")["n"]
            assert journaled.verify().ok
        assert known >= len(live.posts())
        assert len(live.posts()) - sent <= 1  # the one that was on its way when the guard closed


def test_the_copy_of_a_journal_with_a_changed_row_does_not_verify(tmp_path):
    """An edited event is found, named by its sequence, with exit code 3."""
    home = tmp_path / "home"
    settings = Settings.load({}, home=home)
    with Journal.open(settings.journal_path, actor="test") as journal:
        for number in range(5):
            journal.append("note", {"text": f"note {number}"})
    assert athena(home, "verify-journal").returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    connection = sqlite3.connect(copy / "simulator" / "journal.sqlite3")
    connection.execute("DROP TRIGGER IF EXISTS events_are_final")
    connection.execute("UPDATE events SET payload = replace(payload, 'note 3', 'NOTE 3')")
    connection.commit()
    connection.close()
    result = athena(copy, "verify-journal")
    assert result.returncode == 3
    assert "4" in result.stdout
