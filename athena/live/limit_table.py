"""Every limit of the guard, one line each: its name, unit, default, bounds and what it compares.

`athena.live.limits` says how values are read, combined and shown; this is the table it works by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

Value = Decimal | int | bool | str | tuple[str, ...] | None


class Unit(StrEnum):
    """What a limit's number counts; a suffix in text must agree ("25 bps", "$5,000", "30 s")."""

    DOLLARS = "dollars"
    SHARES = "shares"
    BPS = "bps"
    PERCENT = "percent"
    SECONDS = "seconds"
    RATIO = "ratio"
    COUNT = "count"
    FLAG = "true/false"
    SYMBOLS = "symbols"
    CHOICE = "choice"


SUFFIXES = {
    Unit.DOLLARS: ("dollars", "usd", "$"),
    Unit.SHARES: ("shares",),
    Unit.BPS: ("bps",),
    Unit.PERCENT: ("percent", "%"),
    Unit.SECONDS: ("seconds", "s"),
}
NUMBERS = frozenset({Unit.DOLLARS, Unit.SHARES, Unit.BPS, Unit.PERCENT, Unit.SECONDS, Unit.RATIO, Unit.COUNT})


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit; `low` and `high` are the values it accepts, both included; of a `floor` the higher is stricter."""

    name: str
    unit: Unit
    default: Value
    low: Any
    high: Any
    compares: str
    optional: bool = False
    floor: bool = False
    scaled: bool = False  # shrinks in a drawdown
    choices: tuple[str, ...] = ()
    strict: bool = False  # of a flag: the stricter of its two values

    @property
    def is_number(self) -> bool:
        return self.unit in NUMBERS


D = Decimal
_BIG = D("1e9")
_MUCH = 100_000
# fmt: off
_ALL = (
    # The playbook's
    Limit("max_daily_loss_dollars", Unit.DOLLARS, D(2000), D(1), _BIG,
          "opening equity plus transfers, less equity now; reached: everything halts"),
    Limit("max_position_per_symbol_dollars", Unit.DOLLARS, D(20_000), D(0), _BIG,
          "position if all open orders on that side fill, at the dearer of ask and order price", scaled=True),
    Limit("max_orders_per_minute", Unit.COUNT, 60, 0, _MUCH,
          "orders let through in the last 60 s of venue time"),
    Limit("max_consecutive_losses", Unit.COUNT, 5, 1, 1000,
          "closing orders in a row that lost money today; reached: reduce-only", optional=True),
    Limit("max_slippage_bps", Unit.BPS, D(50), D("0.1"), D(10_000),
          "an order's fills against the mid just before each; beyond it: the symbol halts", optional=True),
    Limit("limit_orders_only_slippage_bps", Unit.BPS, D(25), D("0.1"), D(10_000),
          "the same; reached: limit orders only in that symbol for the day", optional=True),
    Limit("max_disconnect_seconds", Unit.SECONDS, D(30), D(1), D(3600),
          "machine time without the venue; beyond it: everything halts until it is back and reconciled", optional=True),
    Limit("drawdown_reduce_size_percent", Unit.PERCENT, D(5), D("0.1"), D(100),
          "fall from peak equity; reached: sizes shrink to drawdown_size_factor", optional=True),
    Limit("drawdown_reduce_only_percent", Unit.PERCENT, D(10), D("0.1"), D(100),
          "fall from peak equity; reached: reduce-only", optional=True),
    Limit("drawdown_halt_percent", Unit.PERCENT, D(15), D("0.1"), D(100),
          "fall from peak equity; reached: everything halts", optional=True),
    Limit("drawdown_size_factor", Unit.RATIO, D("0.75"), D("0.01"), D(1),
          "what remains of the limits on size in the first drawdown tier"),
    # One order
    Limit("max_order_notional_dollars", Unit.DOLLARS, D(10_000), D(0), _BIG,
          "quantity times the dearer of ask and order price", scaled=True),
    Limit("max_order_quantity", Unit.SHARES, D(10_000), D(0), _BIG,
          "quantity", scaled=True),
    Limit("price_collar_bps", Unit.BPS, D(500), D(1), D(10_000),
          "how far a limit price may reach through the other side of the quote", optional=True),
    Limit("max_quote_age_seconds", Unit.SECONDS, D(30), D("0.05"), D(86_400),
          "venue time since the symbol's last quote"),
    Limit("max_participation_rate", Unit.RATIO, None, D("0.0001"), D(1),
          "quantity against the symbol's volume of the last five minutes of venue time", optional=True),
    Limit("allowed_symbols", Unit.SYMBOLS, None, None, None,
          "the only symbols that may be traded", optional=True),
    Limit("restricted_symbols", Unit.SYMBOLS, (), None, None,
          "symbols that may not be traded"),
    Limit("allow_short", Unit.FLAG, True, None, None,
          "whether open sells may exceed the shares held"),
    Limit("trading_session", Unit.CHOICE, "any", None, None,
          "session in which orders may go, by the venue's clock", choices=("any", "extended", "regular")),
    # All orders together
    Limit("max_gross_exposure_dollars", Unit.DOLLARS, D(150_000), D(0), _BIG,
          "sum over symbols of the worst position that open orders allow", optional=True, scaled=True),
    Limit("max_net_exposure_dollars", Unit.DOLLARS, D(150_000), D(0), _BIG,
          "longs less shorts if only the open orders on one side fill", optional=True, scaled=True),
    Limit("min_buying_power_dollars", Unit.DOLLARS, None, D(0), _BIG,
          "the account's buying power less what was ordered since it was read", optional=True, floor=True),
    Limit("max_open_orders", Unit.COUNT, 200, 0, _MUCH,
          "orders open before this one", optional=True),
    Limit("max_open_orders_per_symbol", Unit.COUNT, 20, 0, _MUCH,
          "orders open in the symbol before this one", optional=True),
    Limit("duplicate_order_window_seconds", Unit.SECONDS, D(10), D("0.1"), D(3600),
          "venue time in which equal orders (symbol, strategy, side, quantity, prices) are counted", optional=True),
    Limit("max_duplicate_orders", Unit.COUNT, 3, 1, 1000,
          "equal orders within that window, this one included"),
    Limit("max_identical_executions", Unit.COUNT, 100, 1, _MUCH,
          "orders filled in a row by one strategy with equal symbol, side and quantity", optional=True),
    Limit("prevent_self_crossing", Unit.FLAG, True, None, None,
          "whether an order that could trade with one's own open order is refused: the venue would reject it",
          strict=True),
    Limit("max_messages_per_minute", Unit.COUNT, 180, 1, _MUCH,
          "orders and cancels in the last 60 s of machine time; cancels always go", optional=True),
    Limit("max_cancels_per_minute", Unit.COUNT, 100, 0, _MUCH,
          "cancels in the last 60 s of machine time: a warning, never a refusal", optional=True),
    # Who may loosen
    Limit("require_second_approver", Unit.FLAG, False, None, None,
          "whether resuming, and making a limit less strict, waits for another operator's approval", strict=True),
)
# fmt: on
LIMITS: Mapping[str, Limit] = {limit.name: limit for limit in _ALL}
OF_A_TARGET = frozenset({
    "max_position_per_symbol_dollars", "max_orders_per_minute", "max_slippage_bps", "limit_orders_only_slippage_bps",
    "max_order_notional_dollars", "max_order_quantity", "price_collar_bps", "max_quote_age_seconds",
    "max_participation_rate", "allow_short", "trading_session", "max_open_orders_per_symbol",
    "duplicate_order_window_seconds", "max_duplicate_orders", "max_identical_executions", "prevent_self_crossing",
})  # fmt: skip
ASCENDING = (
    ("limit_orders_only_slippage_bps", "max_slippage_bps"),
    ("drawdown_reduce_size_percent", "drawdown_reduce_only_percent", "drawdown_halt_percent"),
)
