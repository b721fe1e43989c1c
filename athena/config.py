"""Settings: from `ATHENA_*` variables and `athena.toml`, checked; an error names the bad key and the nearest good one.

Precedence: environment, then `athena.toml` in the working folder, then `<home>/athena.toml`, then the defaults below.
Only the standard library is imported here: `athena halt` starts with this module.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from athena import config_tables as tables
from athena.config_tables import StrategySettings
from athena.errors import SettingsError, did_you_mean

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
DATA_STREAM_URL = "wss://stream.data.alpaca.markets/v2"
LIVE_CONFIRMATION = "yes-this-is-real-money"
VENUES = ("simulator", "paper", "live")


@dataclass(frozen=True)
class Settings:
    """Where the live system is and how to reach its venue. Secrets never appear in its repr."""

    home: Path = field(default_factory=lambda: Path.home() / ".athena")
    venue: str = "simulator"
    account: str = ""  # name of the live system; "" means the venue's name
    key_id: str = ""
    secret_key: str = field(default="", repr=False)
    allow_live: str = field(default="", repr=False)
    simulator_url: str = "http://127.0.0.1:8710"
    window_url: str = ""  # a run without keys reads the venue through its runner's window: see playbooks/window.py
    data_feed: str = "iex"
    symbols: tuple[str, ...] = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "WMT")
    strategies: tuple[StrategySettings, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)  # first limits of a new journal
    safe_mode: bool = False
    cancel_on_halt: bool = True  # a halt also cancels the open strategy orders it covers; operators' exits stay
    cancel_on_stop: bool = True  # a graceful stop cancels the open strategy orders
    operator: str = field(default_factory=lambda: _user())
    reports: Path = Path("reports")
    backups: Path | None = None  # snapshots and heads, best on another disk; None: beside the journal
    snapshot_minutes: float = 60.0
    snapshots_keep: int = 24  # besides one a day for a month
    metrics_port: int = 8090
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 10.0
    disconnect_halt_seconds: float = 30.0
    contacts: tuple[tables.Contact, ...] = tables.NO_CONTACTS
    notifications: tables.Notifications = tables.NO_NOTIFICATIONS
    schedule: tables.Schedule = tables.USUAL_SCHEDULE
    prometheus_url: str = "http://127.0.0.1:9090"
    alertmanager_url: str = "http://127.0.0.1:9093"
    alerts_port: int = 8095  # where athena alerts serve listens for Alertmanager, on loopback
    heartbeat_url: str = field(default="", repr=False)  # outside; it misses the Watchdog when alerting is broken

    @property
    def account_name(self) -> str:
        return self.account or self.venue

    @property
    def folder(self) -> Path:
        """Everything that belongs to this live system: `<home>/<account>/`."""
        return self.home / self.account_name

    @property
    def journal_path(self) -> Path:
        return self.folder / "journal.sqlite3"

    @property
    def backup_folder(self) -> Path:
        """Where snapshots and the recorded heads of the journal are kept."""
        return self.folder if self.backups is None else self.backups / self.account_name

    @property
    def trading_url(self) -> str:
        """Origin of the REST API; alpaca-py adds `/v2`."""
        if self.window_url:
            return f"{self.window_url}/trading"
        return {"simulator": self.simulator_url, "paper": PAPER_URL, "live": LIVE_URL}[self.venue]

    @property
    def data_url(self) -> str:
        if self.window_url:
            return f"{self.window_url}/data"
        return self.simulator_url if self.venue == "simulator" else DATA_URL

    @property
    def trading_stream_url(self) -> str:
        return self.trading_url.replace("http", "ws", 1) + "/stream"

    @property
    def data_stream_url(self) -> str:
        base = self.simulator_url.replace("http", "ws", 1) + "/v2" if self.venue == "simulator" else DATA_STREAM_URL
        return f"{base}/{self.data_feed}"

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, *, lenient: bool = False, **overrides: Any) -> Settings:
        """Read and check the settings.

        `lenient` is for emergencies: unknown keys and a broken venue are passed over, so that a typo elsewhere never
        stops a halt. `overrides` win over everything. Raises SettingsError.
        """
        environment = os.environ if environment is None else environment
        home = Path(overrides.get("home") or environment.get("ATHENA_HOME") or Path.home() / ".athena").expanduser()
        values: dict[str, Any] = {}
        for path in toml_files(home, environment):
            values |= _from_toml(path, lenient)
        values |= _from_environment(environment, lenient)
        values |= {k: v for k, v in overrides.items() if v is not None} | {"home": home}
        _choose_venue(values, environment, lenient)
        if lenient:  # who is told and when has nothing to do with stopping
            values = {key: value for key, value in values.items() if key not in {*_TABLES, "prometheus_url"}}
        return cls(**{key: _convert(key, value) for key, value in values.items()})


def toml_files(home: Path, environment: Mapping[str, str] = os.environ) -> tuple[Path, Path]:
    """The settings files there may be, the last one wins; kernels, whose own folder is another, are told the folder."""
    return home / "athena.toml", Path(environment.get("ATHENA_WORKING_FOLDER", ""), "athena.toml")


def _user() -> str:
    try:
        return getpass.getuser()
    except Exception:  # no passwd entry in some containers
        return f"uid-{os.getuid()}"


_NAMES = {f.name for f in fields(Settings)}
_NUMBERS = {"metrics_port": int, "alerts_port": int, "connect_timeout_seconds": float, "read_timeout_seconds": float}
_NUMBERS |= {"disconnect_halt_seconds": float, "snapshot_minutes": float, "snapshots_keep": int}
_TABLES = {"contacts": tables.contacts, "notifications": tables.notifications, "schedule": tables.schedule}
_ELSEWHERE = ("smtp_password", "apprise_", "working_folder")  # read where they are used, kept nowhere
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def _from_toml(path: Path, lenient: bool) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if lenient:
            return {}
        raise SettingsError(f"{path} cannot be read: {error}.", "Mend the file, or move it away.") from error
    unknown = [key for key in table if key not in _NAMES]
    if unknown and not lenient:
        raise SettingsError(f"{path}: '{unknown[0]}' is not a setting.", did_you_mean(unknown[0], _NAMES))
    if "secret_key" in table and not lenient:
        raise SettingsError(f"{path} holds secret_key.", "Put it in APCA_API_SECRET_KEY instead, and change the key.")
    return {key: value for key, value in table.items() if key in _NAMES}


def _from_environment(environment: Mapping[str, str], lenient: bool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, value in environment.items():
        if not variable.startswith("ATHENA_"):
            continue
        key = variable.removeprefix("ATHENA_").lower()
        if key.startswith(_ELSEWHERE):
            continue
        if key in _NAMES - {"strategies", "limits", *_TABLES}:
            values[key] = value
        elif not lenient and (hint := did_you_mean(key, _NAMES)):  # other programs have ATHENA_ variables too
            raise SettingsError(f"{variable} is not a setting.", hint)
    return values


def _choose_venue(values: dict[str, Any], environment: Mapping[str, str], lenient: bool) -> None:
    key, secret = environment.get("APCA_API_KEY_ID", ""), environment.get("APCA_API_SECRET_KEY", "")
    if bool(key) != bool(secret) and not lenient and values.get("venue") != "simulator":
        missing = "APCA_API_SECRET_KEY" if key else "APCA_API_KEY_ID"
        raise SettingsError(f"{missing} is empty though its partner is set.", "Set both for Alpaca paper, or neither.")
    values.setdefault("venue", "paper" if key and secret else "simulator")
    if lenient and values["venue"] not in VENUES:  # the nearest, else what the keys say; what is halted is always named
        from difflib import get_close_matches

        nearest = get_close_matches(str(values["venue"]).lower(), VENUES, 1, 0.6)
        values["venue"] = nearest[0] if nearest else "paper" if key and secret else "simulator"
    _convert("venue", values["venue"])
    if values["venue"] == "simulator":
        values.setdefault("key_id", "SIMULATOR")
        values.setdefault("secret_key", "simulator-secret")
        return
    values.setdefault("key_id", key)
    values.setdefault("secret_key", secret)
    if lenient:
        return
    if not (values["key_id"] and values["secret_key"]):
        raise SettingsError(f"venue {values['venue']} needs APCA_API_KEY_ID and APCA_API_SECRET_KEY.")
    if values["venue"] == "live" and values.get("allow_live") != LIVE_CONFIRMATION and not values.get("window_url"):
        raise SettingsError(
            "venue live is refused: it trades real money.",
            f"If you mean it, set ATHENA_ALLOW_LIVE={LIVE_CONFIRMATION}.",
        )


def _convert(key: str, value: Any) -> Any:
    """The value in its field's type; raises SettingsError naming key, value and what is expected."""
    if key in {"home", "reports", "backups"}:
        return _path(key, value)
    if key == "venue" and value not in VENUES:
        raise SettingsError(f"venue is '{value}'; it is one of {', '.join(VENUES)}.", did_you_mean(str(value), VENUES))
    if key == "account" and value and not str(value).replace("-", "").replace("_", "").isalnum():
        raise SettingsError(f"account is '{value}'; use letters, digits, - and _.")
    if key in {"simulator_url", "window_url"}:
        return _loopback_url(key, str(value)) if value or key == "simulator_url" else ""
    if key in {"prometheus_url", "alertmanager_url"}:
        return _server_url(key, str(value))
    if key == "heartbeat_url":
        return _heartbeat_url(str(value))
    if key in _TABLES:
        return _TABLES[key](value)
    if key == "symbols":
        return _symbols(key, value)
    if key in {"safe_mode", "cancel_on_halt", "cancel_on_stop"} and not isinstance(value, bool):
        if str(value).lower() not in _TRUE | _FALSE:
            raise SettingsError(f"{key} is '{value}'; use true or false.")
        return str(value).lower() in _TRUE
    if key in _NUMBERS:
        try:
            number = _NUMBERS[key](value)
        except (TypeError, ValueError):
            raise SettingsError(f"{key} is '{value}'; a number is expected.") from None
        if key in {"metrics_port", "alerts_port"}:
            if not 0 <= number <= 65535:
                raise SettingsError(f"{key} is {value}; a port is a number from 1 to 65535, 0 takes a free one.")
        elif not 0 < number < 1e6:
            raise SettingsError(f"{key} is {value}; a positive number is expected.")
        return number
    if key == "limits" and not isinstance(value, Mapping):
        raise SettingsError(f"limits is {value!r}; a [limits] table of names and values is expected.")
    if key == "strategies" and not isinstance(value, list | tuple):
        raise SettingsError(f"strategies is {value!r}; [[strategies]] tables are expected.")
    if key == "strategies":
        return tuple(item if isinstance(item, StrategySettings) else _strategy(item) for item in value)
    if key in {"operator", "account"}:
        return str(value)
    return value


def _path(key: str, value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise SettingsError(f"{key} is {value!r}; a folder's path is expected.")
    return Path(value).expanduser()


def _symbols(key: str, value: Any) -> tuple[str, ...]:
    """Symbols from a list or from one text with commas; never the letters of one symbol."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{key} is {value!r}; a list of symbols is expected, for example AAPL,MSFT.")
    return tuple(name.strip().upper() for name in names if name.strip())


def _loopback_url(key: str, value: str) -> str:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{key} is '{value}'; a port is a number from 1 to 65535.") from None
    if parts.scheme != "http" or parts.hostname not in {"127.0.0.1", "localhost", "::1"} or parts.path not in {"", "/"}:
        raise SettingsError(f"{key} is '{value}'; the {key[:-4]} is on loopback: http://127.0.0.1:PORT.")
    return value.rstrip("/")


def _server_url(key: str, value: str) -> str:
    parts = urlsplit(value)
    try:
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.username or parts.password or parts.query:
        raise SettingsError(f"{key} is not an address without a password in it.", "For example http://127.0.0.1:9090.")
    return value.rstrip("/")


def _heartbeat_url(value: str) -> str:
    """Its path is mostly a secret, so it is not repeated; a query is allowed."""
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname or set(value) & set("\"'\n\r ")):
        raise SettingsError("heartbeat_url is no address.", "For example https://hc.example/ping/UUID; empty: none.")
    return value


def _strategy(table: Any) -> StrategySettings:
    if not isinstance(table, Mapping) or not {"name", "kind", "symbols"} <= set(table):
        raise SettingsError(f"a [[strategies]] table needs name, kind and symbols; got {table!r}.")
    rest = {key: value for key, value in table.items() if key not in {"name", "kind", "symbols"}}
    symbols = _symbols(f"symbols of strategy {table['name']}", table["symbols"])
    return StrategySettings(str(table["name"]), str(table["kind"]), symbols, rest)
