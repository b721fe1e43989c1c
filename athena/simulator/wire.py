"""The trading API's facts in Alpaca's words: money and quantities are strings, absent ones null."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from athena.model import NEW_YORK, trading_date
from athena.simulator.account import AccountConfigurations, AccountSummary
from athena.simulator.activities import Activity, FillActivity
from athena.simulator.assets import Asset
from athena.simulator.decimals import plain
from athena.simulator.history import PortfolioHistory
from athena.simulator.orders import TradeUpdate, VenueOrder
from athena.simulator.positions import VenuePosition
from athena.simulator.sessions import Session, next_session

Json = dict[str, Any]
NEXT_DAY_SETTLEMENT = date(2024, 5, 28)


def time(at: datetime) -> str:
    """RFC 3339 in UTC: 2020-03-09T13:30:00.25Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _when(at: datetime | None) -> str | None:
    return None if at is None else time(at)


def order(order: VenueOrder) -> Json:
    """An order; `order_class` is empty for a simple one, as Alpaca sends it."""
    wire = {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": time(order.created_at),
        "updated_at": time(order.updated_at),
        "submitted_at": time(order.submitted_at),
        "filled_at": _when(order.filled_at),
        "expired_at": _when(order.expired_at),
        "canceled_at": _when(order.canceled_at),
        "failed_at": _when(order.failed_at),
        "replaced_at": _when(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": order.asset_id,
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": _optional(order.notional),
        "qty": _optional(order.quantity),
        "filled_qty": plain(order.filled_quantity),
        "filled_avg_price": _optional(order.average_fill_price),
        "order_class": "",
        "order_type": order.type.value,
        "type": order.type.value,
        "side": order.side.value,
        "time_in_force": order.time_in_force.value,
        "limit_price": _optional(order.limit_price),
        "stop_price": _optional(order.stop_price),
        "status": order.status.value,
        "extended_hours": order.extended_hours,
        "legs": None,
        "trail_percent": _optional(order.trail_percent),
        "trail_price": _optional(order.trail_price),
        "hwm": _optional(order.high_water_mark),
        "subtag": None,
        "source": None,
    }
    if order.expires_at is not None:
        wire["expires_at"] = time(order.expires_at)
    return wire


def trade_update(update: TradeUpdate) -> Json:
    """The `data` of a trade_updates message."""
    wire: Json = {"event": update.event, "timestamp": time(update.at), "order": order(update.order)}
    if update.execution_id is not None:
        wire["execution_id"] = update.execution_id
    if update.previous_execution_id is not None:
        wire |= {"previous_execution_id": update.previous_execution_id, "reason": update.event.upper()}
    for name, value in (("price", update.price), ("qty", update.quantity), ("position_qty", update.position_quantity)):
        if value is not None:
            wire[name] = plain(value)
    return wire


def account(summary: AccountSummary) -> Json:
    """An account, without the fields of the day-trading rule that ended in July 2026."""
    return {
        "id": summary.id,
        "account_number": summary.account_number,
        "status": summary.status,
        "crypto_status": "INACTIVE",
        "currency": summary.currency,
        "cash": plain(summary.cash),
        "equity": plain(summary.equity),
        "last_equity": plain(summary.last_equity),
        "portfolio_value": plain(summary.portfolio_value),
        "position_market_value": plain(summary.position_market_value),
        "buying_power": plain(summary.buying_power),
        "regt_buying_power": plain(summary.regt_buying_power),
        "non_marginable_buying_power": plain(summary.non_marginable_buying_power),
        "options_buying_power": "0",
        "multiplier": str(summary.multiplier),
        "long_market_value": plain(summary.long_market_value),
        "short_market_value": plain(summary.short_market_value),
        "initial_margin": plain(summary.initial_margin),
        "maintenance_margin": plain(summary.maintenance_margin),
        "last_maintenance_margin": plain(summary.last_maintenance_margin),
        "sma": "0",
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": plain(summary.intraday_adjustments),
        "balance_asof": (summary.balance_asof or trading_date(summary.created_at)).isoformat(),
        "created_at": time(summary.created_at),
        "trading_blocked": summary.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": summary.trade_suspended_by_user,
        "shorting_enabled": summary.shorting_enabled,
        "options_approved_level": 0,
        "options_trading_level": 0,
    }


def configurations(settings: AccountConfigurations) -> Json:
    """The account's switches."""
    return {**asdict(settings), "max_options_trading_level": 0}


def position(position: VenuePosition) -> Json:
    """A position; its side is a word of its own, and a short one's quantity negative."""
    return {
        "asset_id": position.asset_id,
        "symbol": position.symbol,
        "exchange": position.exchange,
        "asset_class": "us_equity",
        "asset_marginable": position.asset_marginable,
        "qty": plain(position.quantity),
        "qty_available": plain(position.quantity_available),
        "avg_entry_price": plain(position.average_entry_price),
        "side": position.side,
        "market_value": plain(position.market_value),
        "cost_basis": plain(position.cost_basis),
        "unrealized_pl": plain(position.unrealized_pl),
        "unrealized_plpc": plain(position.unrealized_plpc),
        "unrealized_intraday_pl": plain(position.unrealized_intraday_pl),
        "unrealized_intraday_plpc": plain(position.unrealized_intraday_plpc),
        "current_price": plain(position.current_price),
        "lastday_price": plain(position.lastday_price),
        "change_today": plain(position.change_today),
    }


def activity(entry: Activity) -> Json:
    """An execution, or a deposit or withdrawal."""
    if isinstance(entry, FillActivity):
        amended = {} if entry.previous_id is None else {"execution_type": entry.type, "previous_id": entry.previous_id}
        return {
            "activity_type": "FILL",
            "id": entry.id,
            "cum_qty": plain(entry.cumulative_quantity),
            "leaves_qty": plain(entry.leaves_quantity),
            "price": plain(entry.price),
            "qty": plain(entry.quantity),
            "side": entry.side.value,
            "symbol": entry.symbol,
            "transaction_time": time(entry.at),
            "order_id": entry.order_id,
            "order_status": entry.order_status.value,
            "type": entry.type,
            **amended,
        }
    return {
        "activity_type": entry.activity_type,
        "id": entry.id,
        "date": trading_date(entry.at).isoformat(),
        "created_at": time(entry.at),
        "net_amount": plain(entry.net_amount),
        "description": entry.description,
        "status": "executed",
    }


def history(history: PortfolioHistory) -> Json:
    """Portfolio history: numbers, and times as epoch seconds."""
    return {
        "timestamp": [int(at.timestamp()) for at in history.timestamp],
        "equity": [float(value) for value in history.equity],
        "profit_loss": [float(value) for value in history.profit_loss],
        "profit_loss_pct": [None if value is None else float(value) for value in history.profit_loss_pct],
        "base_value": float(history.base_value),
        **({"base_value_asof": history.base_value_asof.isoformat()} if history.base_value_asof else {}),
        "timeframe": history.timeframe,
        "cashflow": {kind: [float(value) for value in values] for kind, values in history.cashflow.items()},
    }


def clock(now: datetime, is_open: bool, next_open: datetime, next_close: datetime) -> Json:
    """The venue's clock, in New York time."""
    return {
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_open": is_open,
        "next_open": next_open.astimezone(NEW_YORK).isoformat(),
        "next_close": next_close.astimezone(NEW_YORK).isoformat(),
    }


def calendar_day(session: Session) -> Json:
    """A trading day: HH:MM for regular hours, HHMM for the extended ones, as Alpaca writes them."""

    def local(at: datetime, form: str) -> str:
        return at.astimezone(NEW_YORK).strftime(form)

    return {
        "date": session.date.isoformat(),
        "open": local(session.open, "%H:%M"),
        "close": local(session.close, "%H:%M"),
        "session_open": local(session.extended_open, "%H%M"),
        "session_close": local(session.extended_close, "%H%M"),
        "settlement_date": settlement(session.date).isoformat(),
    }


def settlement(day: date) -> date:
    """When a day's trades settle: the second trading day after it, since the end of May 2024 the first."""
    following = next_session(day).date
    return following if day >= NEXT_DAY_SETTLEMENT else next_session(following).date


def asset(asset: Asset) -> Json:
    """A listing."""
    margin = asset.maintenance_margin_percent
    return {
        "id": asset.id,
        "class": "us_equity",
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": asset.status,
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "maintenance_margin_requirement": float(margin),
        "margin_requirement_long": plain(margin),
        "margin_requirement_short": plain(margin),
        "shortable": asset.shortable,
        "easy_to_borrow": asset.easy_to_borrow,
        "borrow_status": "easy_to_borrow" if asset.easy_to_borrow else "hard_to_borrow",
        "fractionable": asset.fractionable,
        "attributes": [],
    }
