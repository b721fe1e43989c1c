"""The command line as a tired operator meets it."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from athena.cli import _unexpected, main
from athena.command_table import COMMANDS, SECTIONS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_has_a_handler_a_section_and_help(command, capsys):
    """A command in the overview exists, and tells its options."""
    module, _, function = command.handler.partition(":")
    assert callable(getattr(import_module(module), function))
    assert command.section in SECTIONS
    with pytest.raises(SystemExit) as ended:
        main([command.name, "--help"])
    assert ended.value.code == 0
    assert command.summary.split()[0] in capsys.readouterr().out


def test_a_mistyped_command_names_the_nearest(capsys):
    """`athena hlat` answers with halt, and exits 2."""
    assert main(["hlat"]) == 2
    assert "Did you mean 'halt'" in capsys.readouterr().err


def test_a_mistyped_option_of_halt_says_that_nothing_was_done(capsys, tmp_path):
    """A halt that did not happen never looks like one."""
    assert main(["halt", "--resaon", "x", "--home", str(tmp_path)]) == 2
    assert "NOTHING WAS DONE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["emergency-stop", "--dry"], "Did you mean '--dry-run'"),
        (["resume", "--symbl=AAPL", "x"], "Did you mean '--symbol'"),
        (["status", "--qqqq"], "athena status --help"),
        (["cancel-orders", "XOM,JPM"], "'XOM,JPM' is not one symbol"),
        (["cancel-orders", ""], "'' is not one symbol"),
        (["resume", "calm again", "--symbol", ""], "'' is not one symbol"),
        (["resume", "calm again", "--strategy", ""], "'' is no name"),
        (["limits", "max_order_quantity", "9", "--symbol", ""], "'' is not one symbol"),
        (["close-position", "*"], "'*' is not one symbol"),
        (["reconcile", "--timeout", "nan"], "'nan' is not a number"),
        (["gradual-restart", "--stage-seconds", "-1"], "'-1' is no number of seconds"),
    ],
)
def test_what_is_mistyped_is_named(typed, hint, capsys, tmp_path):
    """The option that was meant, or where the options stand, or the value that is none; nothing is done in any case."""
    assert main([*typed, "--home", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert hint in told
    assert "NOTHING WAS DONE" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["limits", "max_order_quantity", "9", "--symbol", "AAPL", "--strategy", "trend"], "exclude each other"),
        (["limits", "--symbol", "AAPL"], "--symbol belongs to a change of a limit"),
        (["limits", "--override"], "--override belongs to a change of a limit"),
        (["reports", "drawdown_assessment", "--keep-days", "0"], "deletes old runs of every playbook"),
        (["drawdown", "--pdf"], "--pdf is of the published page"),
        (["alerts", "show", "--symbol", "AAPL"], "'AAPL' means nothing after 'show'"),
        (["notifications", "deliver", "7"], "'7' is too much here"),
        (["send-alert", "help", "--to", "desk@example.com", "--key", "k"], "--key means nothing to it"),
    ],
)
def test_what_would_be_passed_over_is_refused(typed, says, capsys, tmp_path, monkeypatch):
    """An argument that this command, as typed, would not heed is an error, and nothing is done."""
    monkeypatch.setenv("ATHENA_REPORTS", str(tmp_path / "reports"))
    assert main([*typed, "--home", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_one_message_with_a_next_step(capsys, monkeypatch):
    """No traceback: what is wrong and what to do."""
    monkeypatch.setenv("ATHENA_VENUE", "papr")
    assert main(["status"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean 'paper'" in error
    assert "Traceback" not in error


def test_json_failures_are_json(capsys, tmp_path):
    """A script that asked for JSON gets JSON when it fails too."""
    code = main(["close-position", "AAPL", "--json", "--home", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    assert code == told["exit_code"] != 0
    assert told["next"]


def test_a_mistyped_option_is_json_too_when_json_was_asked_for(capsys):
    """A script that mistypes an option reads the same shape of answer as for every other failure."""
    assert main(["halt", "--resaon", "x", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_caps_lock_is_no_typo(capsys):
    """HALT is halt: nobody looks at the keyboard's lights in an emergency."""
    with pytest.raises(SystemExit) as ended:
        main(["HALT", "--help"])
    assert ended.value.code == 0
    assert "stop all trading now" in capsys.readouterr().out


def test_a_halt_that_fails_unexpectedly_says_that_trading_may_go_on(capsys):
    """A defect in an emergency command never reads like a halt, and names the other way."""
    command = next(c for c in COMMANDS if c.name == "halt")
    assert _unexpected(command, RuntimeError("a defect"), True) == 1
    told = json.loads(capsys.readouterr().out)
    assert "TRADING MAY STILL BE ON" in told["message"]
    assert "athena emergency-stop" in told["next"]


def test_a_reader_that_goes_away_is_no_failure():
    """`athena --help | head -1` ends quietly."""
    command = f"{sys.executable} -m athena.cli --help | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
