"""The views pressed as a browser presses them, over a real journal and the engine's own guard in this process."""

import gc
import threading
from dataclasses import replace

import pytest

from athena.errors import ApprovalNeeded, AthenaError
from athena.live import approvals
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Scope
from athena.widgets import room as rooms
from athena.widgets.room import ControlRoom, control_room
from tests.engine.processes import wait_for
from tests.guard.conftest import heard, intent, make_journal, reconciled, settings_in


@pytest.fixture
def room(settings, monkeypatch):
    monkeypatch.setattr("athena.widgets.views.resume.CHECK_SECONDS", 0.2)
    settings = replace(settings, simulator_url="http://127.0.0.1:9")
    made = ControlRoom(settings, settings.journal_path, seconds=0.05)
    made.widget()
    made.source.start()
    yield made
    made.stop()


@pytest.fixture
def second(settings):
    made = ControlRoom(replace(settings, operator="bob"), settings.journal_path, seconds=0.05)
    made.widget()
    made.source.start()
    yield made
    made.stop()


def said(view, *words, seconds=15):
    """Wait until the view has said all of it; what it said."""
    wait_for(lambda: all(word in view.told.widget.html for word in words), f"{words}", seconds)
    return view.told.widget.html


def shown(room, condition, what="the view to show it"):
    wait_for(condition, what)
    return room.snapshot


def typed_phrase(view):
    wait_for(lambda: view.plan and not view.go.disabled, "a plan")
    return view.plan.phrase


def test_resume_needs_reason_and_the_phrase_of_what_is_shown(engine, room, handle):
    """A wrong phrase and an empty reason are refused in red; the right ones lift exactly what was shown."""
    halt = handle.halt("spread")
    reconciled(handle)
    view = room.open("Resume")
    shown(room, lambda: halt.id in view.lines.value)
    assert "holds" in view.lines.value
    view.reason.value, view.typed.value = "fine", "resume"
    view.go.click()
    assert "Type exactly" in said(view, "FAILED")
    view.reason.value, view.typed.value = " ", typed_phrase(view)
    view.go.click()
    said(view, "a reason is needed")
    view.reason.value, view.typed.value = "spread is back", typed_phrase(view)
    view.go.click()
    said(view, "DONE", "Resumed.")
    assert engine.flag.allows()
    row = handle.journal.one("SELECT cleared_by, cleared_reason FROM halts WHERE id = ?", (halt.id,))
    assert tuple(row) == ("tester", "spread is back")
    cleared = list(handle.journal.events(kinds=["halt.cleared"]))[-1]
    assert cleared.actor == "operator tester, a kernel without a notebook"


def test_a_line_of_the_checklist_that_fails_is_shown_with_what_to_do_and_refuses(engine, room, handle):
    """The engine's stream is down: the line says so, and the resume is refused with its words."""
    handle.halt("look")
    reconciled(handle)
    heard(handle, state="reconnecting")
    view = room.open("Resume")
    shown(room, lambda: "FAILS" in view.lines.value)
    assert "athena check-brokers" in view.lines.value
    view.reason.value, view.typed.value = "fine", typed_phrase(view)
    view.go.click()
    said(view, "FAILED", "broker is reconnecting")
    assert not engine.flag.allows()


def test_reduce_only_restricts_before_it_lifts(engine, room, handle):
    """The halt goes, a reduce-only of the operator's stands."""
    handle.halt("look")
    reconciled(handle)
    view = room.open("Resume")
    view.way.value = "reduce"
    wait_for(lambda: view.plan and "reduce-only" in view.plan.phrase and not view.go.disabled, "the plan")
    view.reason.value, view.typed.value = "only smaller", view.plan.phrase
    reconciled(handle)
    view.go.click()
    wait_for(lambda: view.told.state in ("DONE", "FAILED"), "an end")
    assert [halt.mode for halt in handle.halts() if halt.scope is Scope.GLOBAL][-1] is Mode.REDUCE_ONLY


def test_a_second_operator_approves_in_his_own_room(engine, room, second, handle):
    """The asker's view waits for approval, names no failure; the other's approval lifts the halt, with both names."""
    handle.set_limit(approvals.SETTING, True)
    halt = handle.halt("look")
    reconciled(handle)
    view, other = room.open("Resume"), second.open("Resume")
    shown(room, lambda: halt.id in view.lines.value)
    view.reason.value, view.typed.value = "fine", typed_phrase(view)
    view.go.click()
    said(view, "WAITS FOR APPROVAL")
    wait_for(lambda: len(other.waiting.options) > 1, "the request in the other room")
    other.approve.click()
    said(other, "REFUSED", "no request is chosen")
    other.waiting.index = 1
    assert "asked by tester" in other.waiting.label
    other.approve.click()
    said(other, "DONE")
    assert engine.flag.allows()
    row = handle.journal.one("SELECT cleared_by FROM halts WHERE id = ?", (halt.id,))
    assert row["cleared_by"] == "tester, approved by bob"


def test_a_click_too_many_approves_nothing_that_was_not_chosen(room, second, handle):
    """When the chosen request is gone another one waits, and none is chosen."""
    handle.set_limit(approvals.SETTING, True)
    for name in ("max_order_quantity", "max_open_orders"):
        with pytest.raises(ApprovalNeeded):
            handle.set_limit(name, handle.limits()[name] + 1, reason="busy")
    other = second.open("Resume")
    wait_for(lambda: len(other.waiting.options) == 3, "both requests")
    other.waiting.index = 1
    other.approve.click()
    wait_for(lambda: len(other.waiting.options) == 2, "one request")
    other.approve.click()
    said(other, "REFUSED", "no request is chosen")
    assert len([request for request in handle.requests() if request.pending]) == 1


def change(room, name, value, reason="busy", target=""):
    view = room.open("Limits")
    view.name.value, view.target.value, view.value.value, view.reason.value = name, target, value, reason
    view.apply.click()
    return view


def test_a_limit_is_changed_seen_and_undone_as_a_new_change(engine, room, handle):
    """The next order meets it; the undo is journaled as a change of its own."""
    view = change(room, "max_order_quantity", "5", "small")
    said(view, "DONE")
    assert not engine.admit(intent(quantity="10"), engine_time())
    wait_for(lambda: view.history.rows, "the change in the list")
    view.history.selected = view.history.rows[0]["id"]
    wait_for(lambda: not view.undo.disabled, "undo")
    view.reason.value = ""
    view.undo.click()
    said(view, "again")
    assert engine.admit(intent(quantity="10"), engine_time())
    made = [event.payload for event in handle.journal.events(kinds=["limit.set"])]
    assert [(one["value"], one["previous"]) for one in made] == [("5", "10000"), ("10000", "5")]
    assert made[1]["reason"].startswith("undo of")


def engine_time():
    from tests.guard.conftest import NOON

    return NOON


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_order_quantty", "5", "max_order_quantity"),
        ("max_order_quantity", "many", "shares from 0"),
        ("max_order_quantity", "", "needs a value"),
        ("", "5", "no limit is named"),
    ],
)
def test_a_slip_in_the_editor_names_the_nearest_or_what_is_accepted(room, name, value, words):
    """Refused at once, in red, and nothing is journaled."""
    view = change(room, name, value)
    assert words in said(view, "REFUSED")
    assert view.told.widget.html.count('role="alert"') == 1
    assert room.desk.guard.limits()["max_order_quantity"] == 10_000


def test_a_limit_changed_elsewhere_since_it_was_shown_is_refused_with_both_values(room, second):
    """Two rooms act at once: no update is lost, and both then show the truth."""
    view, other = room.open("Limits"), second.open("Limits")
    for one in (view, other):
        one.name.value, one.value.value, one.reason.value = "max_order_quantity", "500", "mine"
        wait_for(lambda one=one: one._shown, "the value shown")
    other.value.value = "700"
    view.apply.click()
    said(view, "DONE")
    other.apply.click()
    told = said(other, "FAILED")
    assert "500 shares by now" in told
    assert "10000 shares" in told
    for one in (view, other):
        wait_for(lambda one=one: "500" in str(limit_row(one, "max_order_quantity")), "the truth in both rooms")
    assert "changed elsewhere" in other.help.value


def limit_row(view, name):
    return next(row for row in view.table.rows if row["id"] == f"{name}|")


def test_the_effect_of_a_limit_is_told_before_it_is_made(engine, room, handle, filled):
    """What today's orders would have met, and nothing is changed by asking."""
    from athena.model import Side

    filled(Side.BUY, "10", "100")
    filled(Side.BUY, "2", "100")
    view = room.open("Limits")
    view.name.value, view.value.value = "max_order_quantity", "5"
    view.try_it.click()
    told = said(view, "DONE", "of the 2 orders")
    assert "1 more would have been refused" in told
    assert "buy 10 AAPL" in told
    assert room.desk.guard.limits()["max_order_quantity"] == 10_000


def test_violations_are_filtered_grouped_and_lead_to_their_order(engine, room, handle):
    """From a refusal to the order's whole story in two clicks."""
    handle.set_limit("max_order_quantity", 5)
    refused = [intent(quantity="6"), intent(quantity="7", symbol="MSFT")]
    for one in refused:
        assert not engine.admit(one, engine_time())
    view = room.open("Violations")
    wait_for(lambda: len(view.table.rows) == 2, "two lines")
    view.group.value = "code"
    wait_for(lambda: view.table.columns[0]["label"] == "code", "groups")
    assert view.table.rows[0]["cells"][1]["v"] == 2
    view.group.value = ""
    view.filter.value = "nonsense"
    wait_for(lambda: not view.table.rows, "no line")
    view.filter.value = "msft"
    wait_for(lambda: len(view.table.rows) == 1, "one line")
    view.filter.value = ""
    wait_for(lambda: len(view.table.rows) == 2, "two lines again")
    view.table.selected = view.table.rows[0]["id"]
    wait_for(lambda: not view.jump.disabled, "the way to the order")
    view.jump.click()
    orders = room.view
    assert orders.title == "Positions & orders"
    assert refused[1].client_order_id in orders.story.value
    assert "order.refused" in orders.story.value


def test_commands_without_an_engine_are_refused_in_words_and_nothing_is_asked(room):
    """Cancel all, reconnect and reconcile say that no engine runs, and when it was last heard of."""
    orders, brokers = room.open("Positions & orders"), room.open("Brokers")
    brokers.reconnect.click()
    assert "athena engine" in said(brokers, "FAILED", "not running")
    with pytest.raises(AthenaError, match="not running"):
        room.desk.cancel_all("", print)
    assert orders.cancel_all.disabled
    orders.cancel_all.click()
    assert orders.told.widget.html == ""


def test_a_defect_in_a_view_is_shown_red_and_the_rest_goes_on(room, monkeypatch):
    """Nothing is swallowed: the view that cannot show says why; header and others are fresh."""

    def broken(snapshot):
        raise ZeroDivisionError("a defect")

    view = room.open("Commands")
    monkeypatch.setattr(view, "show", broken)
    said(view, "FAILED", "ZeroDivisionError: a defect")
    beats = room.panel.beat
    wait_for(lambda: room.panel.beat > beats + 2, "the header goes on")


def test_a_playbook_is_chosen_its_form_checked_and_its_run_told(room, settings, tmp_path):
    """A wrong value is refused before anything runs; a double click runs it once; verdict, link, and a note."""
    room.settings = room.desk.settings = replace(settings, reports=tmp_path / "reports")
    view = room.open("Playbooks")
    view.pick.value = "guard_review"
    view.pick.value = "order_rejections"
    assert set(view.fields) >= {"days", "journal"}
    view.fields["days"].value = "many"
    view.run.click()
    assert "whole number" in said(view, "REFUSED")
    view.fields["days"].value = "1"
    view.reason.value = "to see"
    view.run.click()
    view.run.click()
    told = said(view, "DONE", "data-page", seconds=90)
    assert "order_rejections" in told
    wait_for(lambda: view.reports.rows, "the report in the list")
    assert len(view.reports.rows) == 1
    view.reports.selected = view.reports.rows[0]["id"]
    wait_for(lambda: "data-page" in view.link.html, "its link")
    notes = [event.payload for event in room.desk.guard.journal.events(kinds=["note"])]
    assert notes[-1]["reason"] == "to see"


def test_opening_the_room_again_ends_the_one_before(settings, monkeypatch):
    """No thread, connection or widget remains; another account's room is left alone."""
    from athena.playbooks.books.system import connect

    monkeypatch.setenv("ATHENA_HOME", str(settings.home))
    before, system = threading.active_count(), connect(str(settings.journal_path))
    first = control_room(system, live=True)
    first.widget()
    last = first
    for _ in range(5):
        last = control_room(system, live=True)
        last.widget()
    wait_for(lambda: threading.active_count() <= before + 1, "the threads of the rooms before to end")
    assert not first.source.running
    assert first.source.reader._journal is None
    gc.collect()
    last.stop()
    wait_for(lambda: threading.active_count() <= before, "the last room's threads to end")
    rooms._rooms.clear()


def test_where_nobody_can_click_the_state_is_shown_once(settings, capsys):
    """Headless: no thread, no widget, the header as HTML, and where live controls are."""
    from athena.playbooks.books.system import connect

    before = threading.active_count()
    system = connect(str(settings.journal_path))
    room = control_room(system)
    assert not room.live
    shown = room._repr_html_()
    assert "SIMULATOR" in shown
    assert "JupyterLab" in shown
    assert threading.active_count() == before
    assert "GUARD HALTED" in repr(room)
    room.stop()


def test_the_desk_refuses_a_copy_of_a_journal_and_the_keys_of_another_venue(settings, tmp_path):
    """Looked at, never acted upon."""
    import shutil

    from athena.widgets.desk import Desk

    copy = tmp_path / "copy.sqlite3"
    shutil.copy(settings.journal_path, copy)
    other = replace(settings, venue="paper", account="simulator")
    for desk in (Desk(settings, copy, "test"), Desk(other, other.journal_path, "test")):
        with pytest.raises(AthenaError, match=r"only read|keys of paper"):
            desk.set_limit("max_order_quantity", "5", "", "no", 10_000)
        desk.close()


def test_a_system_that_never_ran_is_shown_and_comes_alive(tmp_path):
    """The room opened first; the journal comes; the header follows."""
    settings = settings_in(tmp_path / "new")
    room = ControlRoom(settings, settings.journal_path, seconds=0.05)
    room.widget()
    room.source.start()
    assert "UNKNOWN" in room.panel.html
    for view in room.views:
        room.open(view.title)
    make_journal(settings)
    wait_for(lambda: "athena-head" in room.panel.html, "the system")
    room.stop()
    ExecutionGuard.get_instance(settings).close()
