"""Line magics: `%load_ext athena`, then

%status                       the live system on one screen
%halt [SYMBOL] reason         halt everything, or one symbol
%resume [SYMBOL] [reason]     the checklist; with a reason, resume if it holds
%positions                    what is held
%check AAPL buy 100 190       would this order pass, which limit binds

They act at once, as `athena NAME` does, in the name of ATHENA_OPERATOR. An error is a red line, never a traceback.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from athena.config import Settings
from athena.errors import AthenaError, SettingsError, did_you_mean
from athena.live.execution_guard import ExecutionGuard
from athena.model import Scope, Side


@dataclass(frozen=True)
class Shown:
    """Text and HTML of one answer; a notebook shows the HTML, a terminal the text."""

    text: str
    html: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def load(shell: Any) -> None:
    """Register the magics with a running IPython."""
    for name, act in MAGICS.items():
        shell.register_magic_function(_told(name, act), "line", name)


def _told(name: str, act: Callable[[list[str]], Any]) -> Callable[[str], Any]:
    def magic(line: str) -> Any:
        try:
            return act(_words(line))
        except AthenaError as error:
            return failed(error)

    magic.__doc__ = act.__doc__
    magic.__name__ = name
    return magic


def failed(error: AthenaError) -> Shown:
    """A refusal as a notebook shows it."""
    line = f"REFUSED: {error.message} {error.hint}".rstrip()
    return Shown(line, _box("#cf222e", line))


def status(words: list[str]) -> Shown:
    """The live system on one screen: `%status`."""
    from athena.widgets.room import ControlRoom

    _none(words, "%status")
    settings = Settings.load()
    room = ControlRoom(settings, settings.journal_path, live=False)
    try:
        return Shown(repr(room), room.shown())
    finally:
        room.stop()


def halt(words: list[str]) -> Shown:
    """Halt all trading, or one symbol written in capitals that the system knows: `%halt [SYMBOL] reason`."""
    settings = Settings.load(lenient=True)
    guard = ExecutionGuard.get_instance(settings)
    first = words[0] if words else ""
    looks_like_one = first.isupper() and len(first) <= 6
    known = symbols(settings) if looks_like_one else set()
    doubt = ""
    if looks_like_one and first in known:
        made = guard.halt(" ".join(words[1:]) or "%halt", scope=Scope.SYMBOL, target=first)
    else:
        made = guard.halt(" ".join(words) or "%halt")
        if looks_like_one and known:
            near = did_you_mean(first, known)
            doubt = f"\n{first} is no symbol of this system, so EVERYTHING is halted. {near}".rstrip()
    line = f"HALTED {made.where} on {settings.account_name}, by {made.owner}: {made.reason} [{made.id}]{doubt}"
    wait = "no order is on its way" if made.clean else made.detail
    where = f" {made.target}" if made.target else ""
    text = f"{line}\n{wait}; next: %status, then %resume{where} REASON"
    return Shown(text, _box("#cf222e", text))


def resume(words: list[str]) -> Shown:
    """The checklist; with a reason the resume itself, of all or one halted symbol: `%resume [SYMBOL] reason`."""
    settings = Settings.load()
    guard = ExecutionGuard.get_instance(settings)
    halted = {h.target for h in guard.halts() if h.scope is Scope.SYMBOL}
    symbol = words[0] if words and words[0].isupper() and words[0] in halted | symbols(settings) else None
    if symbol is None and words and words[0].isupper() and len(words[0]) <= 6 and halted:
        hint = did_you_mean(words[0], halted, f"Halted are {', '.join(sorted(halted))}.")
        raise SettingsError(f"{words[0]} is not halted; nothing was resumed.", hint)
    reason = " ".join(words[1:] if symbol else words)
    if not reason:
        lines = [str(h) for h in guard.halts()] + [str(line) for line in guard.checklist(symbol)]
        text = "\n".join([*lines, f"To resume: %resume {symbol or ''} WHY".replace("  ", " ")])
        return Shown(text, _box("#9a6700", text))
    made = guard.resume(symbol, reason=reason)
    told = str(made)
    if symbol is None:
        from athena.ops.control import _lift_suspension

        told = f"{told}\n{_lift_suspension(settings)}".rstrip()
    return Shown(told, _box("#1a7f37", told))


def positions(words: list[str]) -> Shown:
    """What is held, by symbol: `%positions`."""
    from athena.core.portfolio import get_positions

    _none(words, "%positions")
    names = ("symbol", "shares", "average price", "price", "worth", "unrealised P&L")
    rows = [
        (p.symbol, f"{p.quantity:,f}", f"{p.average_entry_price:,.4f}", _money(p.current_price), _money(p.market_value),
         _money(p.unrealised_pnl))
        for p in get_positions()
    ]  # fmt: skip
    if not rows:
        return Shown("No position is held.", "<p>No position is held.</p>")
    text = "\n".join("  ".join(f"{value:>14}" for value in row) for row in [names, *rows])
    return Shown(text, _table(names, rows))


def check(words: list[str]) -> Any:
    """Would this order pass now, and which limit binds: `%check AAPL buy 100 [LIMIT]`; nothing is sent."""
    from athena.live.check_order import check_order

    if len(words) not in (3, 4):
        raise SettingsError(f"%check takes 3 or 4 words, and got {len(words)}.", "For example: %check AAPL buy 100 190")
    symbol, side, *numbers = words
    sides = [one.value for one in Side]
    if side.lower() not in sides:
        raise SettingsError(f"side is '{side}'; it is buy or sell.", did_you_mean(side.lower(), sides))
    settings = Settings.load()
    found = check_order(symbol, side, *numbers, settings=settings)
    near = did_you_mean(symbol.upper(), symbols(settings)) if symbol.upper() not in symbols(settings) else ""
    if not near:
        return found
    return Shown(f"{found}\n  {near}", f"{found._repr_html_()}<p>{escape(near)}</p>")


def symbols(settings: Settings) -> set[str]:
    """The symbols this live system trades, holds or has traded."""
    known = {*settings.symbols, *(symbol for strategy in settings.strategies for symbol in strategy.symbols)}
    try:
        from athena.journal.journal import Journal

        with Journal.open(settings.journal_path, "magic", read_only=True) as journal:
            known |= {row[0] for row in journal.query("SELECT DISTINCT symbol FROM orders")}
            known |= {row[0] for row in journal.query("SELECT symbol FROM marks")}
    except AthenaError:  # a halt must not depend on it
        pass
    return known


MAGICS: dict[str, Callable[[list[str]], Any]] = {
    "status": status,
    "halt": halt,
    "resume": resume,
    "positions": positions,
    "check": check,
}


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, posix=True)
    except ValueError:  # an apostrophe in a reason is no quotation
        return line.split()


def _none(words: list[str], name: str) -> None:
    if words:
        near = did_you_mean(words[0], MAGICS)
        raise SettingsError(f"{name} takes no words, and got '{' '.join(words)}'.", near or f"Type {name} alone.")


def _money(value: Any) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _box(colour: str, text: str) -> str:
    return f'<pre style="border-left:6px solid {colour};padding-left:1em">{escape(text)}</pre>'


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>" for row in rows)
    return (
        f'<table style="font-variant-numeric:tabular-nums"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
