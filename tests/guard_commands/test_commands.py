"""The commands at the command line: what they print, what they journal, how they exit, and what they say to a typo."""

import json
import os

import pytest

from athena.cli import main
from athena.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, H, R, flag_path, new_nonce
from athena.model import Mode, Scope
from tests.guard.conftest import NOON, make_journal, settings_in


@pytest.fixture
def live(tmp_path, monkeypatch):
    """The settings of a journal with an account and a day, as the environment names it."""
    for name in [name for name in os.environ if name.startswith(("ATHENA_", "APCA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ATHENA_HOME", str(tmp_path))
    monkeypatch.setenv("ATHENA_OPERATOR", "tester")
    settings = settings_in(tmp_path)
    make_journal(settings)
    yield settings
    ExecutionGuard.get_instance(settings).close()
    flag_path(settings.journal_path).unlink(missing_ok=True)


@pytest.fixture
def told(live, capsys):
    """Runs a command with --json; its exit code and what it said."""

    def run(*arguments):
        capsys.readouterr()
        code = main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def limit(live, name, target=""):
    with Journal.open(live.journal_path, "test", read_only=True) as journal:
        row = journal.one("SELECT value, changed_by FROM limits WHERE name = ? AND target = ?", (name, target))
    return None if row is None else (json.loads(row["value"]), row["changed_by"])


def test_sizes_are_reduced_by_a_factor_with_their_journal_rows(live, told):
    """Every limit on size and its overrides, none other; each with before, after, row and who."""
    guard = ExecutionGuard.get_instance(live)
    guard.set_limit("max_order_quantity", 500, target="symbol:AAPL")
    code, said = told("reduce-position-sizes", "--factor", "0.8", "--reason", "vol is up")
    assert code == 0
    changed = {(one["limit"], one["target"]): one for one in said["changes"]}
    assert {name for name, _ in changed} == {
        "max_position_per_symbol_dollars", "max_order_notional_dollars", "max_order_quantity",
        "max_gross_exposure_dollars", "max_net_exposure_dollars",
    }  # fmt: skip
    assert changed["max_order_quantity", "symbol:AAPL"]["after"] == "400 shares"
    assert limit(live, "max_position_per_symbol_dollars") == ("16000", "tester")
    with Journal.open(live.journal_path, "test", read_only=True) as journal:
        for one in said["changes"]:
            event = next(journal.events(after=one["sequence"] - 1))
            assert (event.kind, event.payload["name"]) == ("limit.set", one["limit"])
            assert event.payload["reason"] == "vol is up"


def test_a_rehearsal_changes_nothing(live, told):
    """--dry-run shows before and after and leaves the journal as it is."""
    with Journal.open(live.journal_path, "test", read_only=True) as journal:
        before = journal.head()
        for arguments in (
            ("reduce-position-sizes", "--factor", "0.5"),
            ("adjust-order-frequency", "--reduce-by", "50"),
        ):
            code, said = told(*arguments, "--dry-run")
            assert code == 0
            assert said["dry_run"]
            assert all(one["sequence"] is None and one["before"] != one["after"] for one in said["changes"])
        assert journal.head() == before


def test_order_frequency_is_reduced_by_a_percentage(live, told):
    """Fifty per cent less is half, of everything and of each override; again is a quarter."""
    ExecutionGuard.get_instance(live).set_limit("max_orders_per_minute", 10, target="strategy:busy")
    assert told("adjust-order-frequency", "--reduce-by", "50")[0] == 0
    assert told("adjust-order-frequency", "--reduce-by", "50%")[0] == 0
    assert limit(live, "max_orders_per_minute") == (15, "tester")
    assert limit(live, "max_orders_per_minute", "strategy:busy") == (2, "tester")


@pytest.mark.parametrize(
    "arguments",
    [("reduce-position-sizes", "--factor", "1.2"), ("reduce-position-sizes", "--factor", "0"),
     ("adjust-order-frequency", "--reduce-by", "100"), ("adjust-order-frequency", "--reduce-by", "-5"),
     ("violations", "--since", "yesterdy"), ("violations", "--code", "SLIPAGE"), ("check-order", "AAPL", "byu", "1"),
     ("check-order", "AAPL", "buy", "0"), ("update-risk-params", "--apply"), ("update-risk-params", "--only", "x")],
)  # fmt: skip
def test_a_slip_is_named_and_changes_nothing(live, told, arguments):
    """Values out of range, typos and a missing reason exit 2 with a next step, before anything is changed."""
    code, said = told(*arguments)
    assert code == 2
    assert said["error"] == "SettingsError"
    assert said["next"] or "positive" in said["message"] or "buy or sell" in said["message"]
    assert limit(live, "max_orders_per_minute") is None


def test_violations_are_filtered_and_counted_with_their_fix(live, told):
    """By code, symbol, machine time and trading date; grouped counts carry the matrix's row."""
    with Journal.open(live.journal_path, "test") as journal:
        for code, symbol in (("POSITION_LIMIT", "AAPL"), ("POSITION_LIMIT", "MSFT"), ("SLIPPAGE", "AAPL")):
            facts = {"code": code, "message": "m", "symbol": symbol, "observed": "2", "limit_value": "1"}
            journal.append("violation", facts, NOON)
    code, said = told("violations")
    assert (code, said["count"]) == (0, 3)
    assert [(group["code"], group["count"]) for group in said["by_code"]] == [("POSITION_LIMIT", 2), ("SLIPPAGE", 1)]
    assert "close-position" in said["by_code"][0]["recommended"]
    assert told("violations", "--symbol", "aapl")[1]["count"] == 2
    assert told("violations", "--code", "slippage", "--since", "1h")[1]["count"] == 1
    assert told("violations", "--since", "2020-03-09")[1]["count"] == 3
    assert told("violations", "--since", "2020-03-10")[1]["count"] == 0


def test_audit_says_who_changed_what_and_verifies_the_chain(live, told):
    """Halts, resumes with overrides, and limits, each with its operator; a broken chain exits 3."""
    guard = ExecutionGuard.get_instance(live)
    guard.halt("spreads")
    guard.set_limit("max_open_orders", 5, reason="busy day")
    guard.resume(reason="fine again", override=True)
    code, said = told("audit")
    assert (code, said["ok"]) == (0, True)
    whats = [(line["who"], line["what"]) for line in said["lines"]]
    assert ("tester", "halted everything (operator)") in whats
    assert ("tester", "max_open_orders: 200 -> 5") in whats
    assert any(what.endswith("resumed everything, halted by tester") for _, what in whats)
    assert [line["what"] for line in told("audit", "--kind", "limit")[1]["lines"]] == ["max_open_orders: 200 -> 5"]
    assert told("audit", "--by", "nobody")[1]["lines"] == []
    import sqlite3

    connection = sqlite3.connect(live.journal_path)
    connection.execute("DROP TRIGGER IF EXISTS events_never_change")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE events SET payload = replace(payload, 'spreads', 'nothing') WHERE kind = 'halt.set'")
    connection.commit()
    connection.close()
    assert told("audit")[0] == 3


def test_config_review_warns_of_what_is_off_or_laxer(live, told):
    """A limit off or laxer than its default is a warning, a stricter one is not; each says who set it and why."""
    guard = ExecutionGuard.get_instance(live)
    assert told("review-guard-config")[0] == 0
    guard.set_limit("max_slippage_bps", "off", reason="test of something")
    guard.set_limit("max_order_quantity", 20_000)
    guard.set_limit("max_open_orders", 5)
    guard.set_limit("max_order_quantity", 30_000, target="symbol:AAPL")
    code, said = told("review-guard-config")
    warned = {(line["name"], line["target"]): line["warning"] for line in said if line["warning"]}
    assert code == 10
    assert set(warned) == {("max_slippage_bps", ""), ("max_order_quantity", ""), ("max_order_quantity", "symbol:AAPL")}
    assert "without effect" in warned["max_order_quantity", "symbol:AAPL"]
    line = next(line for line in said if line["name"] == "max_slippage_bps")
    assert (line["value"], line["changed_by"], line["reason"]) == ("off", "tester", "test of something")


def test_layers_that_agree_and_layers_that_do_not(live, told):
    """A halted system agrees; a flag that allows what the journal forbids is STOP, one that forbids more ATTENTION."""
    assert told("guard-state-check")[0] == 0  # born halted, no flag: refuses everywhere
    guard = ExecutionGuard.get_instance(live)
    guard.halt("one")
    assert told("guard-state-check")[0] == 0
    flag = GuardFlag.open(live.journal_path)
    flag.acknowledge(flag.words[H])  # as a rogue or a defect would
    code, said = told("guard-state-check")
    assert code == 11
    assert said["disagreements"][0]["what"] == "the journal says halted, the flag allows"
    flag.words[R] = 0
    guard.resume(reason="fine")
    assert told("guard-state-check")[0] == 0
    flag.halt(new_nonce())  # a halt whose setter died before it could journal it
    code, said = told("guard-state-check")
    assert code == 10
    assert "no journal row explains" in said["disagreements"][0]["what"]
    flag.close()


def test_a_lease_without_an_engine_and_an_engine_without_a_lease(live, told):
    """Whoever vouches must live, and whoever lives must vouch."""
    guard = ExecutionGuard.get_instance(live)
    guard.halt("one", scope=Scope.SYMBOL, target="AAPL", mode=Mode.REDUCE_ONLY)
    flag = GuardFlag.open(live.journal_path)
    flag.renew(30)
    code, said = told("guard-state-check")
    assert code == 11
    assert any("no engine tells" in one["what"] for one in said["disagreements"])
    assert said["halts"][0]["row"] == "operator"
    flag.expire()
    guard.journal.heartbeat("engine", {"state": "running", "mode": "halted"}, NOON)
    code, said = told("guard-state-check")
    assert code == 10
    assert any("does not vouch" in one["what"] for one in said["disagreements"])
    flag.close()


def test_looking_makes_no_flag(live, told):
    """guard-state-check reads: a flag that was not there is not there after it."""
    flag_path(live.journal_path).unlink(missing_ok=True)
    told("guard-state-check")
    assert not flag_path(live.journal_path).exists()


def test_test_guards_leaves_the_live_system_alone(live, told):
    """Every limit is drilled elsewhere: the live journal's head and halts are what they were."""
    with Journal.open(live.journal_path, "test", read_only=True) as journal:
        before = journal.head()
        code, said = told("test-guards")
        assert (code, said["ok"]) == (0, True)
        assert journal.head() == before


def test_update_risk_params_applies_only_when_told(live, told):
    """Without --apply nothing changes; with it the proposed limit is set by the operator, with the reason."""
    guard = ExecutionGuard.get_instance(live)
    with Journal.open(live.journal_path, "test") as journal:
        facts = {"equity": "99000", "cash": "99000", "realised_pnl": "-1000", "unrealised_pnl": "0", "marks": {}}
        journal.append("equity", facts, NOON)
    guard.set_limit("max_daily_loss_dollars", 50_000, reason="far too lax")
    code, said = told("update-risk-params", "--offline")
    assert [one["proposed"] for one in said["proposals"]] == ["$25,000.00"]
    assert told("update-risk-params", "--offline", "--apply", "--dry-run", "--reason", "x")[1]["applied"] == []
    assert limit(live, "max_daily_loss_dollars") == ("50000", "tester")
    code, said = told("update-risk-params", "--offline", "--apply", "--reason", "after review")
    assert (code, said["verdict"]) == (0, "UNKNOWN")  # there are no orders to replay, and it says so
    assert said["applied"][0]["after"] == "$25,000.00"
    assert limit(live, "max_daily_loss_dollars") == ("25000", "tester")


def test_decision_matrices_are_applied_to_the_live_system(live, told):
    """Each matrix shows its fired row for what stands now; the exit code is the most urgent one's."""
    code, said = told("decision-matrices")
    assert code == 0
    assert [(one["matrix"], one["fired"]) for one in said["decisions"]] == [
        ("Halt", "none"), ("Drawdown", "below"), ("Rejections", "few"), ("Violation", "NONE"),
    ]  # fmt: skip
    with Journal.open(live.journal_path, "test") as journal:
        equity = {"equity": "112000", "cash": "112000", "realised_pnl": "0", "unrealised_pnl": "0", "marks": {}}
        journal.append("equity", equity, NOON)  # the account holds 100,000: 10.7 % less
        journal.append("violation", {"code": "SLIPPAGE", "message": "m", "symbol": "XOM"}, NOON)
    ExecutionGuard.get_instance(live).set_limit("drawdown_reduce_only_percent", "off")
    code, said = told("decision-matrices")
    assert (code, said["verdict"]) == (11, "STOP")
    fired = {one["matrix"]: one for one in said["decisions"]}
    assert fired["Drawdown"]["fired"] == "reduce_only"
    assert fired["Drawdown"]["automatic"] == "nothing: drawdown_reduce_only_percent is off"
    assert fired["Violation"]["fired"] == "SLIPPAGE"
    assert told("decision-matrices", "slippage")[1]["decisions"][0]["fired"] == "unknown"
    assert told("decision-matrices", "slipage")[0] == 2
