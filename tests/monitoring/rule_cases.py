"""For each alert: series that make it fire and what it then says, series that do not, and when it is too early.

Series are promtool's: start+step x times, one value a scrape of 5 s. Without any series nothing may fire, but for
EngineDown and Watchdog.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """`early`: a moment at which the condition holds and nothing may fire yet; "" where it fires at once."""

    fires: dict
    at: str
    quiet: dict
    description: str
    labels: dict = field(default_factory=dict)
    summary: str = ""
    early: str = "5s"
    absent: bool = False  # it fires without any series
    quiet_at: tuple = ("15s", "1m5s")


LONG = "x60"
OPEN = {"athena_market_open": f"1{LONG}"}
CASES = {
    "HighDailyLoss": Case(
        {"athena_daily_pnl_dollars": f"-5000.01{LONG}"}, "0s", {"athena_daily_pnl_dollars": f"-5000{LONG}"},
        "The day stands at -5000.01 dollars.", early="",
    ),
    "LossLimitNear": Case(
        {"athena_daily_loss_limit_used_ratio": f"0.8{LONG}"}, "10s",
        {"athena_daily_loss_limit_used_ratio": f"0.79{LONG}"}, "80% of the loss at which everything halts.",
    ),
    "LossLimitReached": Case(
        {"athena_daily_loss_limit_used_ratio": f"1{LONG}"}, "0s",
        {"athena_daily_loss_limit_used_ratio": f"0.99{LONG}"},
        "1.00 times the limit; the guard halts by itself, this alert makes sure.", early="",
    ),
    "BrokerDisconnected": Case(
        {'athena_broker_connection_status{broker="alpaca"}': f"0{LONG}"}, "30s",
        {'athena_broker_connection_status{broker="alpaca"}': f"2{LONG}"},
        "The streams of alpaca are down (state 0; 2 is connected).", {"broker": "alpaca"}, early="29s",
    ),
    "HighSlippage": Case(
        {"athena_slippage_basis_points_sum": "0+255x60", "athena_slippage_basis_points_count": "0+5x60"}, "2m10s",
        {"athena_slippage_basis_points_sum": "0+250x60", "athena_slippage_basis_points_count": "0+5x60"},
        "Fills of the last five minutes cost 51.0 bps on average.", early="2m4s", quiet_at=("1m", "2m30s"),
    ),
    "SymbolSlippage": Case(
        {'athena_symbol_slippage_basis_points{symbol="AAPL"}': f"50.1{LONG}"}, "10s",
        {'athena_symbol_slippage_basis_points{symbol="AAPL"}': f"50{LONG}",
         'athena_symbol_slippage_basis_points{symbol="other"}': f"99{LONG}"},
        "The last fills in AAPL cost 50.1 bps on average.", {"symbol": "AAPL", "param_symbol": "AAPL"},
        "Fills in AAPL cost more than 50 bps",
    ),
    "OrdersRejected": Case(
        {'athena_orders_total{status="rejected"}': "0+1x60", 'athena_orders_total{status="filled"}': "0+8x60"}, "5m",
        {'athena_orders_total{status="rejected"}': "0+1x60", 'athena_orders_total{status="filled"}': "0+9.5x60"},
        "60 orders were rejected in five minutes, more than a tenth of those sent.", quiet_at=("1m", "5m"),
    ),
    "OrderStuck": Case(
        {"athena_oldest_unanswered_order_age_seconds": f"31{LONG}"}, "10s",
        {"athena_oldest_unanswered_order_age_seconds": f"30{LONG}"}, "The venue has owed an answer for 31s.",
    ),
    "DataStale": Case(
        {"athena_market_data_age_seconds": f"61{LONG}", "athena_venue_speed": f"1{LONG}", **OPEN}, "10s",
        {"athena_market_data_age_seconds": f"61{LONG}", "athena_venue_speed": f"2{LONG}", **OPEN},
        "The newest quote is 1m 1s of venue time old in an open market.",
    ),
    "Watchdog": Case(
        {}, "0s", {"athena_alerts_oldest_unfinished_age_seconds": f"200{LONG}"},
        "Sent to an outside heartbeat. Nothing to do while it fires.", early="", absent=True, quiet_at=("20s", "1m5s"),
    ),
    "EngineDown": Case(
        {'up{job="athena"}': f"0{LONG}", "athena_engine_stopped": f"0{LONG}"}, "15s",
        {'up{job="athena"}': f"0{LONG}", "athena_engine_stopped": f"1{LONG}"},
        "Its metrics page is gone. The guard's lease runs out within 2 s, so no order passes.", {"job": "athena"},
        early="10s", absent=True,
    ),
    "EngineStopped": Case(
        {"athena_engine_stopped": "1x100", "athena_exchange_open": "1x100"}, "5m",
        {"athena_engine_stopped": "1x100", "athena_exchange_open": "0x100"},
        "It stopped in good order and did not start again: positions may be held, and nothing watches them.",
        early="4m55s", quiet_at=("5m", "8m"),
    ),
    "EngineHung": Case(
        {"athena_engine_heartbeat_age_seconds": f"11{LONG}"}, "10s",
        {"athena_engine_heartbeat_age_seconds": f"10{LONG}"},
        "Its last heartbeat is 11s old though its process answers.",
    ),
    "GuardHalted": Case(
        {'athena_guard_halted{origin="guard"}': f"1{LONG}", 'athena_guard_halted{origin="startup"}': f"1{LONG}"}, "0s",
        {'athena_guard_halted{origin="guard"}': f"0{LONG}", 'athena_guard_halted{origin="startup"}': f"1{LONG}"},
        "By: guard. The guard refuses every order but exits. The page says who halted, why, and what resuming needs.",
        {"origin": "guard"}, early="",
    ),
    "TradingNotResumed": Case(
        {'athena_guard_halted{origin="startup"}': "1x100", "athena_market_open": "1x100"}, "5m",
        {'athena_guard_halted{origin="startup"}': "1x100", "athena_market_open": "0x100"},
        "Every order but exits is refused. The page says what resuming needs.", {"origin": "startup"}, early="4m55s",
        quiet_at=("5m", "8m"),
    ),
    "LeaseStale": Case(
        {"athena_guard_lease_remaining_seconds": f"0{LONG}", "athena_engine_ready": f"1{LONG}"}, "10s",
        {"athena_guard_lease_remaining_seconds": f"0{LONG}", "athena_engine_ready": f"0{LONG}"},
        "The engine runs, but its guardian does not renew the lease: orders are refused.",
    ),
    "GuardViolation": Case(
        {'athena_guard_violations_total{rule="POSITION_LIMIT"}': f"0 1{LONG}"}, "20s",
        {'athena_guard_violations_total{rule="POSITION_LIMIT"}': f"3{LONG}",
         'athena_guard_violations_total{rule="GUARD_HALTED"}': "0+1x60"},
        "1 times in five minutes.", {"rule": "POSITION_LIMIT"}, "The guard refused or acted: POSITION_LIMIT",
    ),
    "ReconciliationBreak": Case(
        {"athena_reconciliation_breaks": f"2{LONG}"}, "10s", {"athena_reconciliation_breaks": f"0{LONG}"},
        "2 differences at the last look.",
    ),
    "JournalErrors": Case(
        {"athena_journal_errors_total": f"0 1{LONG}", "athena_journal_readable": f"1{LONG}"}, "20s",
        {"athena_journal_errors_total": f"4{LONG}", "athena_journal_readable": f"1{LONG}"},
        "Orders are refused while it cannot be written.",
    ),
    "DiskFilling": Case(
        {"athena_disk_free_ratio": f"0.2{LONG}", "athena_disk_free_bytes": "1e9-1e6x60"}, "1m20s",
        {"athena_disk_free_ratio": f"0.2{LONG}", "athena_disk_free_bytes": f"1e9{LONG}"},
        "20% is left. On a full disk every order is refused.", early="30s", quiet_at=("1m30s",),
    ),
    "ClockSkew": Case(
        {"athena_clock_offset_seconds": f"-1.5{LONG}"}, "1m", {"athena_clock_offset_seconds": f"1{LONG}"},
        "It differs by 1.50 s from the venue. Ages of quotes are judged by it.", early="55s",
    ),
    "BackupStale": Case(
        {"athena_last_backup_timestamp_seconds": "-20000x200", "athena_market_open": "1x200"}, "10m",
        {"athena_last_backup_timestamp_seconds": "0+5x200", "athena_market_open": "1x200"},
        "The newest is 5h 43m 20s old.", early="9m", quiet_at=("11m",),
    ),
    "PlaybookFailed": Case(
        {'athena_playbook_runs_total{playbook="daily_report",result="failed"}': f"0 1{LONG}"}, "20s",
        {'athena_playbook_runs_total{playbook="daily_report",result="ok"}': "0+1x60"},
        "daily_report failed; its page shows the cell.", {"failed": "daily_report"},
    ),
    "OutboxStuck": Case(
        {"athena_outbox_oldest_age_seconds": f"121{LONG}"}, "10s", {"athena_outbox_oldest_age_seconds": f"120{LONG}"},
        "The oldest has waited for 2m 1s. People may not know what happened.",
    ),
    "MessageDead": Case(
        {'athena_last_dead_letter_timestamp_seconds{channel="slack"}': f"0{LONG}"}, "10s",
        {'athena_last_dead_letter_timestamp_seconds{channel="slack"}': f"-900{LONG}"},
        "slack refused it, it was given up or is held. Who relies on that channel does not know.", {"channel": "slack"},
    ),
    "AlertsStuck": Case(
        {"athena_alerts_oldest_unfinished_age_seconds": f"121{LONG}"}, "10s",
        {"athena_alerts_oldest_unfinished_age_seconds": f"120{LONG}"},
        "The oldest has waited for 2m 1s: athena alerts serve is down or busy.",
    ),
    "ServiceSilent": Case(
        {'athena_service_heartbeat_age_seconds{service="schedule"}': f"61{LONG}"}, "10s",
        {'athena_service_heartbeat_age_seconds{service="schedule"}': f"60{LONG}"},
        "Its last sign of life was 1m 1s ago.", {"service": "schedule"}, "A service is silent: schedule",
    ),
    "AlertDeliveryFailed": Case(
        {'alertmanager_notifications_failed_total{integration="webhook"}': f"0 1{LONG}"}, "20s",
        {'alertmanager_notifications_failed_total{integration="webhook"}': f"0{LONG}",
         'alertmanager_notifications_failed_total{integration="email"}': "0+1x60"},
        "athena alerts serve did not take them; Alertmanager goes on trying.", {"integration": "webhook"},
    ),
}  # fmt: skip
