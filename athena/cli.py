"""Argument parsing only: each command names its handler, which is imported when it is called.

Exit codes: 0 done · 1 unexpected · 2 settings or usage · 3 journal · 4 guard refused · 5 broker · 6 engine not running
· 7 simulator · 8 playbook · 10 attention · 11 stop · 12 unknown (the verdict commands) · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from athena.command_table import COMMANDS, SECTIONS, Command
from athena.config import Settings
from athena.errors import AthenaError, SettingsError, did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure is one message with a next step."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("\nathena: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--safe-mode"]:
        arguments.insert(0, "engine")
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_overview(), flush=True)
        return 0
    if arguments[0] == "--version":
        print(f"athena {_version()}")
        return 0
    command = next((c for c in COMMANDS if c.name == arguments[0]), None)
    if command is None:
        hint = did_you_mean(arguments[0], [c.name for c in COMMANDS], "athena --help lists them.")
        return _fail(SettingsError(f"'{arguments[0]}' is not a command.", hint))
    parsed = _parser(command).parse_args(arguments[1:])
    try:
        overrides = {"home": parsed.home, "account": parsed.account, "operator": parsed.operator}
        return _handler(command)(Settings.load(lenient=command.lenient, **overrides), parsed)
    except AthenaError as error:
        return _fail(error, as_json=parsed.json)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _unexpected(command, error)


class _Parser(argparse.ArgumentParser):
    """Says that nothing was done: at 3 a.m. a typo in `halt` must not look like a halt."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. NOTHING WAS DONE.\n  next: {self.prog} --help\n")


def _handler(command: Command) -> Callable[[Settings, argparse.Namespace], int]:
    module, _, function = command.handler.partition(":")
    found: Callable[[Settings, argparse.Namespace], int] = getattr(import_module(module), function)
    return found


def _parser(command: Command) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"athena {command.name}", description=command.summary, allow_abbrev=False)
    for flags, keywords in command.options:
        parser.add_argument(*flags, **keywords)
    common = parser.add_argument_group("everywhere")
    common.add_argument("--json", action="store_true", help="machine-readable output")
    common.add_argument("--home", type=Path, default=None, help="state folder (ATHENA_HOME)")
    common.add_argument("--account", default=None, help="which live system (ATHENA_ACCOUNT)")
    common.add_argument("--operator", default=None, help="your name in the record (ATHENA_OPERATOR)")
    return parser


def _overview() -> str:
    lines = ["athena COMMAND [options]      athena COMMAND --help tells its options", ""]
    for section in SECTIONS:
        lines.append(f"{section}:")
        lines += [f"  {c.name:<20} {c.summary}" for c in COMMANDS if c.section == section]
        lines.append("")
    return "\n".join([*lines, "Every command takes --json, --home, --account and --operator."])


def _fail(error: AthenaError, as_json: bool = False) -> int:
    if as_json:
        kind = type(error).__name__
        print(json.dumps({"error": kind, "message": error.message, "next": error.hint, "exit_code": error.exit_code}))
    else:
        print(f"athena: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  next: {error.hint}", file=sys.stderr)
    return error.exit_code


def _unexpected(command: Command, error: Exception) -> int:
    """A defect of Athena's own: one line for the operator, the traceback in a file for its owner."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="athena-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(f"athena {command.name}\n")
        traceback.print_exception(error, file=log)
    print(f"athena: {command.name} failed unexpectedly: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"  next: nothing was assumed; the details are in {log.name}", file=sys.stderr)
    return 1


def _version() -> str:
    from importlib.metadata import version

    return version("athena")


if __name__ == "__main__":
    sys.exit(main())
