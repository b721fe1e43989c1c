"""The strategies Athena knows by kind, and the checks of their settings. Write your own to `base.Strategy`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from athena.config import Settings
from athena.config_tables import StrategySettings
from athena.errors import SettingsError, did_you_mean
from athena.live.strategies.base import Context, Strategy, parameters_from
from athena.live.strategies.mean_reversion import MeanReversion, MeanReversionParameters
from athena.live.strategies.momentum import Momentum, MomentumParameters
from athena.lot import NO_STRATEGIES

__all__ = ["STRATEGY_REGISTRY", "Context", "Finding", "Strategy", "make_strategies", "validate_strategies"]

STRATEGY_REGISTRY: dict[str, tuple[Callable[..., Strategy], type[Any]]] = {
    "mean_reversion": (MeanReversion, MeanReversionParameters),
    "momentum": (Momentum, MomentumParameters),
}
"""Kind -> (class, its parameter record). Add your own before the engine starts."""


@dataclass(frozen=True)
class Finding:
    """One line of `validate_strategies`: what was looked at, whether it may run, and what was found.

    `checked` is False where it could not be looked at: then `ok` says nothing.
    """

    strategy: str
    ok: bool
    message: str
    hint: str = ""
    checked: bool = True


def make_strategies(settings: Settings) -> tuple[Strategy, ...]:
    """The strategies of the settings; raises SettingsError at the first that is wrong.

    With none configured the simulator gets both examples, half of the symbols each; an account of
    yours gets none.
    """
    tables = _tables(settings)
    names = [table.name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two strategies are named '{name}'.", "A name tells whose an order is: use another.")
        if name in NO_STRATEGIES or not name.replace("-", "").replace("_", "").isalnum():
            raise SettingsError(
                f"a strategy is named '{name}'.", "Use letters, digits, - and _; not operator or external."
            )
    return tuple(_make(table) for table in tables)


def validate_strategies(settings: Settings) -> list[Finding]:
    """Check each strategy by itself, so that one mistake does not hide the next."""
    findings = []
    for table in _tables(settings):
        try:
            strategy = _make(table)
            missing = [symbol for symbol in strategy.symbols if symbol not in settings.symbols]
            note = f"; {', '.join(missing)} is not in symbols and is subscribed for it" if missing else ""
            message = f"{table.kind} in {', '.join(strategy.symbols)}: {_shown(strategy, table.parameters)}{note}"
            findings.append(Finding(table.name, True, message))
        except SettingsError as error:
            findings.append(Finding(table.name, False, error.message, error.hint))
    try:
        make_strategies(settings)
    except SettingsError as error:
        if all(finding.ok for finding in findings):
            findings.append(Finding("all", False, error.message, error.hint))
    return findings or [Finding("none", True, "no strategies are configured: the engine only watches")]


def _tables(settings: Settings) -> tuple[StrategySettings, ...]:
    if settings.strategies or settings.venue != "simulator":
        return settings.strategies
    # Each symbol has one strategy: two that disagree would cross their own orders, which venues refuse.
    shares = {"mean_reversion": settings.symbols[0::2], "momentum": settings.symbols[1::2]}
    return tuple(StrategySettings(kind, kind, symbols) for kind, symbols in shares.items() if symbols)


def _make(table: StrategySettings) -> Strategy:
    if table.kind not in STRATEGY_REGISTRY:
        hint = did_you_mean(table.kind, STRATEGY_REGISTRY, f"Known: {', '.join(STRATEGY_REGISTRY)}.")
        raise SettingsError(f"strategy {table.name}: '{table.kind}' is not a kind.", hint)
    if not table.symbols:
        raise SettingsError(f"strategy {table.name} has no symbols.")
    kind, record = STRATEGY_REGISTRY[table.kind]
    return kind(table.name, table.symbols, parameters_from(record, table.parameters, table.name))


def _shown(strategy: Strategy, given: Mapping[str, Any]) -> str:
    parameters = getattr(strategy, "parameters", None)
    names = [f for f in getattr(parameters, "__slots__", ()) if f in given] or ["dollars"]
    return ", ".join(f"{name}={getattr(parameters, name):g}" for name in names if hasattr(parameters, name))
