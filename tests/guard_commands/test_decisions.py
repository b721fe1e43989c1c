"""The decision matrices: which row fires at each threshold, what stays when a limit is off, nothing left unnamed."""

from decimal import Decimal

import pytest

from athena.core.decisions import PLAYBOOK, Severity, drawdown, halted, slippage, worst
from athena.core.rejections import REJECTIONS, rejection, rejections, violation
from athena.live.limits import LIMITS, effective
from athena.live.verdict import Code

DEFAULTS = effective({})


def test_playbook_thresholds_are_the_limits_defaults():
    """The matrices' own numbers and the guard's defaults cannot drift apart."""
    assert {name: LIMITS[name].default for name in PLAYBOOK} == dict(PLAYBOOK)


@pytest.mark.parametrize(
    ("fall", "row"),
    [(-1, "below"), (0, "below"), ("4.99", "below"), (5, "reduce_size"), ("9.99", "reduce_size"), (10, "reduce_only"),
     ("14.99", "reduce_only"), (15, "halt"), (99, "halt"), (None, "unknown"), ("NaN", "unknown"), ("", "unknown"),
     (float("inf"), "unknown")],
)  # fmt: skip
def test_drawdown_row_by_the_operators_tiers(fall, row):
    """5, 10 and 15 per cent each begin their row, and what is no number is unknown, never below."""
    assert drawdown(fall, DEFAULTS).row.key == row
    assert drawdown(fall).row.key == row


@pytest.mark.parametrize(
    ("bps", "row"),
    [(-3, "below"), ("24.9", "below"), (25, "limit_orders"), (50, "limit_orders"), ("50.1", "halt_symbol"),
     (None, "unknown"), (float("nan"), "unknown")],
)  # fmt: skip
def test_slippage_row_by_the_operators_thresholds(bps, row):
    """Below 25 monitor, 25 to 50 limit orders, above 50 halt: fifty itself is not above fifty."""
    assert slippage(bps, DEFAULTS).row.key == row


def test_a_changed_limit_moves_the_row_and_an_absent_one_acts_no_more():
    """Thresholds are the live limits; a limit that is off keeps the advice and loses the automatic action."""
    mine = {**DEFAULTS, "drawdown_halt_percent": Decimal(12)}
    assert drawdown(12, mine).row.key == "halt"
    off = drawdown(16, {**DEFAULTS, "drawdown_halt_percent": None})
    assert off.row.key == "halt"
    assert off.row.automatic == "nothing: drawdown_halt_percent is off"
    assert "Emergency stop" in off.row.recommended


def test_a_decision_prints_its_table_with_one_row_marked():
    """The text shows every row and marks the fired one; the dict says the same for machines."""
    one = drawdown(Decimal("6.2"), DEFAULTS)
    marked = [line for line in str(one).splitlines() if line.startswith("▶")]
    assert len(marked) == 1
    assert "5 % to 10 %" in marked[0]
    facts = one.to_dict()
    assert facts["fired"] == "reduce_size"
    assert facts["inputs"] == {"fall_percent": "6.2"}
    assert facts["thresholds"]["drawdown_halt_percent"] == "15"
    assert [row["fired"] for row in facts["rows"]].count(True) == 1
    assert "▶" in one._repr_html_()


@pytest.mark.parametrize(
    ("origin", "owner", "row"),
    [("guard", "max_daily_loss_dollars", "daily_loss"), ("guard", "max_consecutive_losses", "consecutive_losses"),
     ("guard", "max_slippage_bps", "slippage"), ("guard", "drawdown_halt_percent", "drawdown_halt"),
     ("guard", "drawdown_reduce_only_percent", "drawdown_reduce_only"), ("guard", "engine", "defect"),
     ("connectivity", "max_disconnect_seconds", "connectivity"), ("reconciliation", "engine", "reconciliation"),
     ("startup", "engine", "startup"), ("operator", "alice", "operator"), ("operator", "unknown", "orphan"),
     ("guard", "something new", "unknown"), ("", "", "none")],
)  # fmt: skip
def test_each_halt_has_its_row(origin, owner, row):
    """A halt's origin and owner find what to do about it; a new kind is unknown, not ignored."""
    assert halted(origin, owner, "why", DEFAULTS).row.key == row


def test_every_code_of_the_guard_has_a_fix():
    """No violation is left without a recommendation, and a code from another version says so."""
    unnamed = [code for code in Code if violation(code).severity is Severity.UNKNOWN]
    assert unnamed == [Code.UNKNOWN]
    assert violation("FROM_THE_FUTURE").severity is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("words", "cause"),
    [("insufficient buying power", "buying_power"), ('asset "ZZZZ" not found', "symbol"),
     ('asset "AAPL" is not tradable', "symbol"), ("rate limit exceeded", "rate_limit"),
     ("too many requests.", "rate_limit"), ("potential wash trade detected. use complex orders", "wash_trade"),
     ("opposite side market/stop order exists", "wash_trade"), ("account is not allowed to short", "short"),
     ('asset "GME" cannot be sold short', "short"), ("extended hours order must be DAY limit orders", "session"),
     ("opg orders must be submitted after 7:00pm and before 9:28am", "session"), ("the market is closed", "session"),
     ("insufficient qty available for order (requested: 1, available: 0)", "shares_held"),
     ("new orders are rejected by user request", "suspended"), ("client_order_id must be unique", "duplicate"),
     ("trade denied due to pattern day trading protection", "day_trading"), ("qty must be > 0", "quantity"),
     ("invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria", "price"),
     ("", "other"), (None, "other"), ("the dog ate it", "other")],
)  # fmt: skip
def test_rejection_by_the_venues_words(words, cause):
    """The venue's own sentences find their cause, and a sentence nobody knows is unknown."""
    found = rejection(words)
    assert found.row.key == cause
    assert found.row in REJECTIONS
    assert found.row.recommended


def test_rejections_of_a_day_fire_above_five_per_cent():
    """One in twenty is normal; above that the commonest cause's row fires."""
    assert rejections(["rate limit exceeded"], 20).row.key == "few"
    many = rejections(["rate limit exceeded", "rate limit exceeded", "insufficient buying power"], 20)
    assert many.row.key == "rate_limit"
    assert many.inputs["causes"] == {"rate_limit": 2, "buying_power": 1}
    assert rejections([], 0).row.key == "few"


def test_worst_of_nothing_is_unknown():
    """No decision at all is not OK."""
    assert worst([]) is Severity.UNKNOWN
    assert worst([drawdown(1), drawdown(6)]) is Severity.ATTENTION
