"""The magics in a real IPython shell, and what a name typed in a cell shows."""

import subprocess
import sys
from decimal import Decimal as D

import pytest
from IPython.core.interactiveshell import InteractiveShell

from athena.live.execution_guard import ExecutionGuard
from athena.model import Account, Mode, OrderStatus, Position, Scope
from tests.guard.conftest import intent, order, quote, reconciled


@pytest.fixture
def shell(settings, monkeypatch):
    """A shell with the extension loaded, whose settings are the journal's."""
    monkeypatch.setenv("ATHENA_HOME", str(settings.home))
    monkeypatch.setenv("ATHENA_OPERATOR", "alice")
    monkeypatch.setenv("ATHENA_SIMULATOR_URL", "http://127.0.0.1:9")
    made = InteractiveShell()
    made.run_line_magic("load_ext", "athena")
    yield made
    ExecutionGuard.get_instance(settings).close()
    InteractiveShell.clear_instance()


def test_halt_without_a_symbol_halts_everything_in_the_operators_name(shell, engine, handle):
    """The next order is refused, and the answer names owner, reason and the way back."""
    said = repr(shell.run_line_magic("halt", "spreads look wrong"))
    assert not engine.flag.allows()
    (halt,) = [one for one in handle.halts() if one.scope is Scope.GLOBAL]
    assert halt.reason == "spreads look wrong"
    assert "HALTED everything" in said
    assert "%resume REASON" in said


def test_halt_of_a_symbol_halts_only_that(shell, engine, handle):
    """Capitals that the system knows are a symbol."""
    assert "symbol AAPL" in repr(shell.run_line_magic("halt", "AAPL spread"))
    assert engine.flag.allows()
    assert [(one.target, one.reason) for one in handle.halts()] == [("AAPL", "spread")]


def test_halt_of_a_symbol_that_is_none_halts_everything_and_names_the_nearest(shell, engine):
    """A slip in an emergency errs on the side of stopping."""
    said = repr(shell.run_line_magic("halt", "APPL spread"))
    assert not engine.flag.allows()
    assert "EVERYTHING" in said
    assert "'AAPL'" in said


def test_resume_shows_the_checklist_and_with_a_reason_lifts(shell, engine, handle):
    """Without a reason nothing changes; a symbol that is not halted is answered with the one that is."""
    handle.halt("look")
    handle.halt("odd", scope=Scope.SYMBOL, target="AAPL")
    reconciled(handle)
    assert "reconciled" in repr(shell.run_line_magic("resume", ""))
    assert not engine.flag.allows()
    assert "'AAPL'" in repr(shell.run_line_magic("resume", "APPL fine"))
    assert "Resumed" in repr(shell.run_line_magic("resume", "AAPL it's back"))
    assert [one.target for one in handle.halts()] == [""]
    reconciled(handle)
    shell.run_line_magic("resume", "looked at it")
    assert engine.flag.allows()


def test_check_answers_with_the_limit_that_binds_and_sends_nothing(shell, engine, handle):
    """Passes and refusals, a typo of side or symbol, and too few words."""
    handle.journal.put_marks([quote()])
    assert "100 AAPL at 100" in repr(shell.run_line_magic("check", "AAPL buy 100 100"))
    assert "'buy'" in repr(shell.run_line_magic("check", "AAPL bye 100"))
    assert "AAPL" in repr(shell.run_line_magic("check", "AAPL"))
    assert "'AAPL'" in repr(shell.run_line_magic("check", "APPL buy 100"))
    assert handle.journal.one("SELECT COUNT(*) FROM orders")[0] == 0


def test_status_and_positions_show_and_take_no_words(shell, filled):
    """One screen; what is held; a stray word is answered with the nearest."""
    from athena.model import Side

    filled(Side.BUY, "10", "100")
    assert "SIMULATOR" in shell.run_line_magic("status", "")._repr_html_()
    held = shell.run_line_magic("positions", "")
    assert "AAPL" in repr(held)
    assert "<td>AAPL</td>" in held._repr_html_()
    assert "REFUSED" in repr(shell.run_line_magic("status", "positons"))


def test_magics_where_there_is_no_journal_say_so_in_a_line(shell, monkeypatch, tmp_path):
    """No traceback, and nothing halted is called halted."""
    monkeypatch.setenv("ATHENA_HOME", str(tmp_path / "none"))
    for name in ("resume", "positions"):
        assert repr(shell.run_line_magic(name, "")).startswith("REFUSED")
    assert "UNKNOWN" in repr(shell.run_line_magic("status", ""))


def test_a_name_typed_in_a_cell_shows_its_state_escaped(engine, handle):
    """Guard, position, order and account as tables; markup in a reason stays text."""
    from athena.model import Side

    handle.halt("<script>")
    shown = handle._repr_html_()
    assert "HALTED" in shown
    assert "<script>" not in shown
    assert "<td>10</td>" in Position("AAPL", D(10), D(100), D("101.5"))._repr_html_()
    assert "filled" in order(intent(Side.BUY), OrderStatus.FILLED)._repr_html_()
    account = Account("<A1>", "paper", "ACTIVE", "USD", D(1), D(1), D(1), D("2000"))._repr_html_()
    assert "2,000" in account
    assert "&lt;A1&gt;" in account
    assert handle.get_status().mode is Mode.HALTED


def test_importing_athena_imports_nothing_else():
    """The extension is loaded when it is asked for, so that `athena halt` starts in a blink."""
    code = "import sys, athena; print(sorted(n for n in sys.modules if n.startswith(('athena.', 'IPython', 'pandas'))))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout.strip() == "[]"
