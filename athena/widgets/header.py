"""The header as HTML: whose account, may orders pass, is everything alive, what is held, which limit is near."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athena.analysis.style import clock, dollars
from athena.live.limits import LIMITS, Unit, show
from athena.live.vitals import BOOKS_STALE_SECONDS, QUOTES_STALE_SECONDS, Beat
from athena.model import Mode
from athena.ops.health import words
from athena.widgets.snapshot import Snapshot, aged

if TYPE_CHECKING:
    from athena.core.alerts import Alert
    from athena.live.guard_rules import Halt
    from athena.live.guard_status import LimitLine
    from athena.ops.status import SystemStatus

BARS_MOST = 6
HALTS_MOST = 6
ALERTS_MOST = 3
POINTS_MOST = 120
NEAR, FULL = 0.5, 0.8
SILENT_SECONDS = 2.0
VENUES = {"simulator": "SIMULATOR · no real money", "paper": "PAPER · no real money", "live": "LIVE MONEY"}
TONES = {Mode.ACTIVE: "ok", Mode.REDUCE_ONLY: "attention", Mode.HALTED: "stop"}


def header(snapshot: Snapshot, now: datetime | None = None) -> str:
    """The whole header; ages are those of `now`. Everything from outside is escaped."""
    now = now or datetime.now(UTC)
    body = (
        _known(snapshot, snapshot.status, now) if snapshot.status else '<p class="athena-mode tone-unknown">UNKNOWN</p>'
    )
    trouble = snapshot.trouble
    if trouble is not None:
        since = f"since {clock(trouble.since)} ET, {words((now - trouble.since).total_seconds())}"
        known = "Below is what was last known." if snapshot.status else "Nothing is known yet."
        told = f"CANNOT BE READ {since}: {escape(trouble.what)} {escape(trouble.hint)} {known}"
        return f'<div class="athena-trouble" role="alert">{told}</div><div class="athena-old">{body}</div>'
    return body


def _known(snapshot: Snapshot, status: SystemStatus, now: datetime) -> str:
    guard = status.guard
    venue = escape(VENUES.get(snapshot.venue, snapshot.venue.upper()))
    number = f" {escape(status.account_number)}" if status.account_number else " no account bound yet"
    mode = guard.mode.value.replace("_", "-").upper()
    if guard.mode is Mode.ACTIVE and not guard.passes:
        mode = "NO ORDER PASSES"  # nobody halted anything, and still the flag refuses
    tone = TONES[guard.mode] if guard.passes or guard.mode is not Mode.ACTIVE else "attention"
    readonly = f'<p class="tone-attention"><b class="tag">READ ONLY</b> {escape(snapshot.readonly)}</p>'
    return (
        f'<div class="athena-head venue-{escape(snapshot.venue)}"><div class="top">'
        f'<span class="athena-venue">{venue}</span><span><b>{escape(snapshot.account)}</b>{number}</span>'
        f'<span class="athena-mode tone-{tone}" data-mode="{escape(guard.mode.value)}">{mode}</span>'
        f"<span>{escape(guard.why)}</span>"
        f'<span class="soft">operator {escape(snapshot.operator)} · read {clock(snapshot.read_at)} ET</span></div>'
        f"{readonly if snapshot.readonly else ''}{_halts(guard.halts, now)}{_firing(snapshot.alerts, now)}"
        f'<div class="athena-tiles">{"".join(_tiles(snapshot, status, now))}</div>{_bars(guard.limits)}</div>'
    )


def _halts(halts: Sequence[Halt], now: datetime) -> str:
    if not halts:
        return ""
    lines = []
    for halt in halts[:HALTS_MOST]:
        mode = halt.mode.value.replace("_", "-").upper()
        age = words((now - halt.at).total_seconds())
        until = f", until {clock(halt.expires_at)} ET" if halt.expires_at else ""
        lines.append(
            f'<li class="tone-{TONES[halt.mode]}"><b class="tag">{mode} {escape(halt.where)}</b> by '
            f"{escape(halt.owner)} ({escape(halt.origin.value)}), {age} ago{until}: {escape(halt.reason)}</li>"
        )
    more = len(halts) - HALTS_MOST
    lines += [f'<li class="tone-stop">… and {more} more halts, all in the Resume view</li>'] if more > 0 else []
    return f'<ul class="athena-halts" aria-label="Halts that stand">{"".join(lines)}</ul>'


def _firing(alerts: Sequence[Alert], now: datetime) -> str:
    """Each alert that fires: since when, what it says, what its playbook found, and that page."""
    lines = []
    for alert in alerts[:ALERTS_MOST]:
        unheard = alert.unheard(now)
        tone = "unknown" if unheard else "stop" if alert.severity == "critical" else "attention"
        age = alert.standing(now) if unheard else words((now - alert.starts_at).total_seconds())
        drill = "DRILL " if alert.drill else ""
        found = f" {escape(alert.verdict)}: {escape(alert.reason)}" if alert.verdict else ""
        page = Path(alert.page).absolute() if alert.page else None
        link = (
            f' <a class="athena-page" data-page="{escape(str(page))}" data-home="{escape(str(Path.home()))}"'
            if page
            else ""
        )
        link += f' href="{escape(page.as_uri())}" target="_blank" rel="noopener">its page</a>' if page else ""
        lines.append(
            f'<li class="tone-{tone}"><b class="tag">{drill}ALERT {escape(alert.name)}</b> {escape(alert.severity)}, '
            f"{age}: {escape(alert.summary)}{found}{link}</li>"
        )
    return f'<ul class="athena-halts" aria-label="Alerts that fire">{"".join(lines)}</ul>' if lines else ""


def _tiles(snapshot: Snapshot, status: SystemStatus, now: datetime) -> Iterable[str]:
    engine, broker = aged(snapshot.engine, now), aged(snapshot.broker, now)
    alive = engine is not None and engine.alive
    yield _engine(engine, status)
    yield _broker(broker, alive)
    yield _market(engine, alive)
    yield _books(status.reconciliation, now)
    pnl = status.daily_pnl
    tone = "unknown" if not pnl else "stop" if Decimal(pnl) < 0 else "ok"
    doubt = f"no price for {', '.join(status.unmarked)}" if status.unmarked else ""
    held = f"{len(status.positions)} positions, {len(status.open_orders)} open orders"
    unsure = f"{held}, as last known: UNKNOWN since {_time(status.positions_unsure_since)}"
    sign = "+" if pnl and Decimal(pnl) > 0 else ""
    yield _tile(
        "Day's P&L",
        f"{sign}{dollars(Decimal(pnl))}" if pnl else "unknown",
        doubt,
        tone,
        sparkline(snapshot.lists.curve),
    )
    equity = dollars(Decimal(status.equity)) if status.equity else "unknown"
    doubtful = status.positions_unsure_since is not None
    yield _tile("Equity", equity, unsure if doubtful else held, "attention" if doubtful else "")
    yield _alerts(snapshot.alerts, status.guard.violations_today, now)


def _engine(beat: Beat | None, status: SystemStatus) -> str:
    """Two signs of life: the heartbeat, believed for five seconds, and the lease, which a dead engine loses in two."""
    if beat is None:
        return _tile("Engine", "never ran here", "next: athena engine", "unknown")
    ago = f"{words(max(0.0, beat.age_seconds))} ago"
    if not beat.alive:
        how = "stopped" if beat.stopped else "last heartbeat"
        return _tile("Engine", "NOT RUNNING", f"{how} {clock(beat.at)} ET, {ago}; next: athena engine", "stop")
    if status.guard.lease_seconds <= 0 and beat.age_seconds > SILENT_SECONDS:
        return _tile("Engine", "NOT ANSWERING", f"its lease ran out, last heartbeat {ago}", "stop")
    told = f"pid {beat.pid}, heartbeat {ago}"
    if status.safe_mode:
        return _tile("Engine", "SAFE MODE", told, "attention")
    return _tile("Engine", str(beat.details.get("state", "running")), told, "ok")


def _broker(beat: Beat | None, alive: bool) -> str:
    if beat is None:
        return _tile("Broker", "unknown", "no engine has connected yet", "unknown")
    state = str(beat.details.get("state", "unknown"))
    if not alive or not beat.alive:
        return _tile("Broker", "UNKNOWN", f"last known {state}, {words(beat.age_seconds)} ago", "unknown")
    latency, up = beat.details.get("latency_seconds"), beat.details.get("uptime_seconds")
    told = [f"{name} {value}" for name, value in (beat.details.get("streams") or {}).items() if value != "connected"]
    if up is not None:
        told.append(f"up {words(float(up))}")
    if latency is not None:
        told.append(f"{latency * 1000:.0f} ms")
    return _tile("Broker", state, ", ".join(told), "ok" if state == "connected" else "stop")


def _market(beat: Beat | None, alive: bool) -> str:
    if beat is None or not alive:
        return _tile("Market data", "UNKNOWN", "the engine hears it, and is not running", "unknown")
    session, age = str(beat.details.get("session", "unknown")), beat.details.get("market_data_age_seconds")
    heard = "no quote yet" if age is None else f"last quote {age:.1f} s ago, venue time"
    quiet = session == "open" and (
        age is None or age > QUOTES_STALE_SECONDS * max(1.0, float(beat.details.get("speed") or 1))
    )
    return _tile("Market", session, heard, "attention" if quiet else "ok")


def _books(found: dict[str, Any], now: datetime) -> str:
    if found["ok"] is None:
        return _tile("Books", "never reconciled", "with the venue", "unknown")
    age = (now - datetime.fromisoformat(found["at"])).total_seconds()
    if not found["ok"]:
        breaks = "; ".join(f"{b.get('kind')} {b.get('symbol') or ''}".strip() for b in found["breaks"]) or "not ok"
        return _tile("Books", "DIFFER", f"{breaks}, {words(age)} ago", "stop")
    old = age > BOOKS_STALE_SECONDS
    return _tile("Books", "agreed" if old else "agree", f"reconciled {words(age)} ago", "attention" if old else "ok")


def _alerts(alerts: tuple[Alert, ...], violations: int, now: datetime) -> str:
    told = f"{violations} violations today"
    if not alerts:
        return _tile("Alerts", "none fires", told, "ok")
    named = ", ".join(f"{alert.name}{' (drill)' if alert.drill else ''}" for alert in alerts[:3])
    firing = [alert for alert in alerts if alert.unheard(now) is None]
    tone = "stop" if any(alert.severity == "critical" for alert in firing) else "attention" if firing else "unknown"
    counts = {"firing": len(firing), "UNKNOWN": len(alerts) - len(firing)}
    value = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return _tile("Alerts", value, f"{named}; {told}", tone)


def _tile(name: str, value: str, detail: str = "", tone: str = "", extra: str = "") -> str:
    key = name.lower().replace("'s", "").replace("&", "n").replace(" ", "-")
    return (
        f'<div class="athena-tile {f"tone-{tone}" if tone else ""}" data-tile="{key}"><b>{escape(name)}</b>'
        f'<span class="v">{escape(value)}</span>{extra} <span class="d">{escape(detail)}</span></div>'
    )


def sparkline(curve: Sequence[tuple[datetime, float]]) -> str:
    """The day's equity as a line; "" with fewer than two points."""
    if len(curve) < 2:
        return ""
    step = max(1, len(curve) // POINTS_MOST)
    points = [*curve[::step], curve[-1]]
    first, last = points[0][0].timestamp(), points[-1][0].timestamp()
    low, high = min(v for _, v in points), max(v for _, v in points)
    width, height = (last - first) or 1.0, (high - low) or 1.0
    xy = " ".join(
        f"{(at.timestamp() - first) / width * 200:.1f},{24 - (value - low) / height * 22:.1f}" for at, value in points
    )
    told = f"Equity today: {points[0][1]:,.2f} to {points[-1][1]:,.2f}, lowest {low:,.2f}, highest {high:,.2f}"
    return (
        f'<svg viewBox="0 0 200 26" preserveAspectRatio="none" role="img" aria-label="{told}"><title>{told}</title>'
        f'<polyline points="{xy}" fill="none" stroke="currentColor" stroke-width="1.5"'
        ' vector-effect="non-scaling-stroke"/></svg>'
    )


def _bars(lines: Sequence[LimitLine]) -> str:
    used = sorted((line for line in lines if line.ratio is not None), key=lambda line: -(line.ratio or 0))
    return f'<div class="athena-meters">{"".join(bar(line) for line in used[:BARS_MOST])}</div>' if used else ""


def bar(line: LimitLine) -> str:
    """One limit's headroom: name, used of value, a bar, and the word for it."""
    ratio = line.ratio or 0.0
    tone = "ok" if ratio < NEAR else "attention" if ratio < FULL else "stop"
    left = f"{max(0.0, 1 - ratio):.0%} left"
    name = f"{line.name} {line.target}".strip()
    told = f"{_short(line.name, line.used)} of {_short(line.name, line.value)}"
    return (
        f'<div class="athena-meter tone-{tone}" role="meter" aria-valuemin="0" aria-valuemax="100" aria-valuenow='
        f'"{min(100.0, ratio * 100):.0f}" aria-label="{escape(name)}: {left}"><span>{escape(name)}</span>'
        f'<span>{escape(told)} · <b class="tag">{left}</b></span>'
        f'<i style="--share:{min(100.0, ratio * 100):.1f}%"></i></div>'
    )


def _short(name: str, value: Any) -> str:
    """An amount without cents, for a narrow place."""
    if LIMITS[name].unit is Unit.DOLLARS and value is not None:
        return f"${Decimal(value):,.0f}"
    return str(value or 0) if isinstance(value, str | None) else show(name, value)


def _time(text: str | None) -> str:
    return "" if not text else f"{clock(datetime.fromisoformat(text))} ET"
