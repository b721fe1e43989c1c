"""The tables of `athena.toml`: strategies, contacts, notifications, schedule. Each checks itself and names the bad key.

Secrets have no place here: a Slack address, a mail password, an Apprise address come from the environment alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from athena.errors import SettingsError, did_you_mean

ROLES = {
    "team_lead": "Trading team lead",
    "risk_manager": "Risk manager",
    "administrator": "System administrator",
    "broker_support": "Broker support",
}
SEVERITIES = ("info", "warning", "critical")
SECURITY = ("starttls", "tls", "none")
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ADDRESS = re.compile(r"[!-~]+@[!-~]+")  # ASCII: mail servers take nothing else without being asked
_NO_ADDRESS = set("<>,;")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class StrategySettings:
    """One `[[strategies]]` table: a name unique in the account, the kind in the registry, and its parameters."""

    name: str
    kind: str
    symbols: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contact:
    """Whom to call: one of the four of `[contacts]`."""

    role: str
    name: str = ""
    phone: str = ""
    email: str = ""

    @property
    def known(self) -> bool:
        """True where there is a way to reach them."""
        return bool(self.phone or self.email)

    def __str__(self) -> str:
        return f"{ROLES[self.role]}: {', '.join(filter(None, (self.name, self.phone, self.email))) or 'not set'}"


@dataclass(frozen=True)
class Notifications:
    """`[notifications]`: who is told, by which channel, how often. A severity that is None has all channels set up."""

    email_to: tuple[str, ...] = ()
    email_from: str = "athena@localhost"
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_security: str = "starttls"  # tls: from the first byte, mostly port 465; none: loopback only
    smtp_user: str = ""  # its password is ATHENA_SMTP_PASSWORD
    info: tuple[str, ...] | None = None
    warning: tuple[str, ...] | None = None
    critical: tuple[str, ...] | None = None
    per_minute: int = 10  # messages of a channel a minute; critical ones are not counted out
    give_up_hours: float = 24.0  # a message not delivered by then becomes a dead letter
    timeout_seconds: float = 10.0
    reports_url: str = ""  # where people reach the folder of reports; links are made with it

    def channels(self, severity: str) -> tuple[str, ...] | None:
        chosen: tuple[str, ...] | None = getattr(self, severity)
        return chosen


@dataclass(frozen=True)
class Schedule:
    """`[schedule]`: when the day's procedures run, New York time, and how late a missed one still makes sense."""

    pre_market: str = "08:00"
    market_open: str = "09:30"
    post_market: str = "16:00"  # or later; on an early close as long after it
    catch_up_minutes: float = 90.0
    calendar_overrides: Path | None = None  # None: <home>/calendar.toml where it exists


def contacts(value: Any) -> tuple[Contact, ...]:
    """The four contacts from a `[contacts]` table; those left out are empty."""
    if isinstance(value, tuple) and all(isinstance(item, Contact) for item in value):
        return value
    table = _mapping("contacts", value, "a [contacts] table of team_lead, risk_manager, administrator, broker_support")
    _known("contacts", table, ROLES)
    made = []
    for role in ROLES:
        row = _mapping(f"contacts.{role}", table.get(role, {}), '{ name = "...", phone = "...", email = "..." }')
        _known(f"contacts.{role}", row, ("name", "phone", "email"))
        for key, text in row.items():
            if not isinstance(text, str) or "\n" in text:
                raise SettingsError(f"contacts.{role}.{key} is {text!r}; one line of text is expected.")
        if row.get("email"):
            addresses(f"contacts.{role}.email", row["email"])
        made.append(Contact(role, **row))
    return tuple(made)


def notifications(value: Any) -> Notifications:
    """A `[notifications]` table, checked."""
    if isinstance(value, Notifications):
        return value
    table = dict(_mapping("notifications", value, "a [notifications] table"))
    for secret in ("slack_webhook_url", "slack", "smtp_password", "password", "apprise"):
        if secret in table:
            raise SettingsError(
                f"notifications.{secret} is a secret and does not belong into a file.",
                "Set SLACK_WEBHOOK_URL, ATHENA_SMTP_PASSWORD or ATHENA_APPRISE_NAME instead, and change what leaked.",
            )
    made = _fill("notifications", Notifications, table)
    if made.smtp_security not in SECURITY:
        raise SettingsError(
            f"notifications.smtp_security is '{made.smtp_security}'; it is one of {', '.join(SECURITY)}.",
            did_you_mean(made.smtp_security, SECURITY),
        )
    if made.smtp_host and made.smtp_security == "none" and made.smtp_host not in _LOOPBACK:
        raise SettingsError(
            f"notifications.smtp_security is 'none' for {made.smtp_host}: mail would cross the network in the clear.",
            "Use starttls or tls; none is for a mail server on this machine.",
        )
    if not 0 < made.smtp_port < 65536:
        raise SettingsError(f"notifications.smtp_port is {made.smtp_port}; a port is a number from 1 to 65535.")
    if made.reports_url and not made.reports_url.startswith(("http://", "https://")):
        raise SettingsError(f"notifications.reports_url is '{made.reports_url}'; it starts with http:// or https://.")
    return made


def schedule(value: Any) -> Schedule:
    """A `[schedule]` table, checked: times are HH:MM, New York."""
    if isinstance(value, Schedule):
        return value
    made = _fill("schedule", Schedule, dict(_mapping("schedule", value, "a [schedule] table")))
    for key in ("pre_market", "market_open", "post_market"):
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", getattr(made, key)):
            raise SettingsError(
                f"schedule.{key} is '{getattr(made, key)}'; a time of day in New York is expected, such as 08:00."
            )
    if made.post_market < "16:00":
        raise SettingsError(f"schedule.post_market is '{made.post_market}', before the close at 16:00.")
    return made


_Table = TypeVar("_Table", Notifications, Schedule)


def _fill(name: str, kind: type[_Table], table: dict[str, Any]) -> _Table:
    types = {item.name: item.type for item in fields(kind)}
    _known(name, table, types)
    return kind(**{key: _typed(f"{name}.{key}", str(types[key]), value) for key, value in table.items()})


def _typed(key: str, kind: str, value: Any) -> Any:
    if key.endswith(("email_to", "email_from")):
        found = addresses(key, value)
        return found if key.endswith("_to") else found[0]
    if kind.startswith("tuple"):
        return _channels(key, value)
    if kind.startswith("Path"):
        if not isinstance(value, str):
            raise SettingsError(f"{key} is {value!r}; a file's path is expected.")
        return Path(value).expanduser()
    if kind in {"int", "float"}:
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not right or not 0 < value < 1e6 or (kind == "int" and value != int(value)):
            raise SettingsError(
                f"{key} is {value!r}; a positive {'whole ' if kind == 'int' else ''}number is expected."
            )
        return int(value) if kind == "int" else float(value)
    if not isinstance(value, str) or "\n" in value:
        raise SettingsError(f"{key} is {value!r}; one line of text is expected.")
    return value


def _channels(key: str, value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f'{key} is {value!r}; a list of channels is expected, such as ["slack", "email"].')
    for name in (names := [name.strip() for name in names]):
        if not _CHANNEL.fullmatch(name):
            raise SettingsError(f"{key} has the channel '{name}'; slack, email, or a name of small letters.")
    return tuple(dict.fromkeys(names))


def addresses(key: str, value: Any) -> tuple[str, ...]:
    """Mail addresses from a list or a text with commas; raises SettingsError naming the wrong one."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not found:
        raise SettingsError(f"{key} is {value!r}; mail addresses are expected.")
    for address in found:
        text = address.strip() if isinstance(address, str) else ""
        if not _ADDRESS.fullmatch(text) or text.count("@") > 1 or _NO_ADDRESS & set(text):
            raise SettingsError(f"{key} has {address!r}, which is no mail address.", "For example desk@company.com.")
    return tuple(address.strip() for address in found)


def _mapping(key: str, value: Any, wanted: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} is {value!r}; {wanted} is expected.")
    return value


def _known(name: str, table: Mapping[str, Any], known: Any) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(str(key), known, f"There are: {', '.join(known)}.")
            raise SettingsError(f"{name}.{key} is not a setting.", hint)


NO_CONTACTS, NO_NOTIFICATIONS, USUAL_SCHEDULE = contacts({}), Notifications(), Schedule()
