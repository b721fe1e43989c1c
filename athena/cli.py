"""Argument parsing only: each command names its handler, which is imported when it is called.

Exit codes: 0 done · 1 unexpected · 2 settings or usage · 3 journal · 4 guard refused · 5 broker · 6 engine not running
· 7 simulator · 8 playbook · 9 notification · 10 attention · 11 stop · 12 unknown (the verdict commands)
· 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import wrap
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
    as_json = "--json" in arguments  # also where the arguments cannot be parsed
    name = arguments[0].lower()  # with caps lock on, HALT halts
    command = next((c for c in COMMANDS if c.name == name), None)
    if command is None:
        hint = did_you_mean(name, [c.name for c in COMMANDS], "athena --help lists them.")
        return _fail(SettingsError(f"'{arguments[0]}' is not a command. NOTHING WAS DONE.", hint), as_json)
    try:
        parsed = _parser(command).parse_args(arguments[1:])
        overrides = {"home": parsed.home, "account": parsed.account, "operator": parsed.operator}
        return _handler(command)(Settings.load(lenient=command.lenient, **overrides), parsed)
    except AthenaError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _unexpected(command, error, as_json)


class _Parser(argparse.ArgumentParser):
    """Says that nothing was done: at 3 a.m. a typo in `halt` must not look like a halt."""

    def error(self, message: str) -> NoReturn:
        hint, (asked, _, rest) = f"{self.prog} --help", message.partition(": ")
        if asked == "unrecognized arguments":
            wrong = rest.split()[0].partition("=")[0]
            hint = did_you_mean(wrong, self._option_string_actions, hint)
        raise SettingsError(f"{self.prog.removeprefix('athena ')}: {message}. NOTHING WAS DONE.", hint)


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
    width = max(60, shutil.get_terminal_size().columns - 1)
    column = max(len(command.name) for command in COMMANDS) + 4
    lines = ["athena COMMAND [options]      athena COMMAND --help tells its options", ""]
    for section in SECTIONS:
        lines.append(f"{section}:")
        for command in COMMANDS:
            if command.section == section:
                first = f"  {command.name}".ljust(column)
                lines += wrap(command.summary, width, initial_indent=first, subsequent_indent=" " * column)
        lines.append("")
    return "\n".join([*lines, "Every command takes --json, --home, --account and --operator."])


def _fail(error: AthenaError, as_json: bool = False) -> int:
    _tell(type(error).__name__, error.message, error.hint, error.exit_code, as_json)
    return error.exit_code


def _unexpected(command: Command, error: Exception, as_json: bool) -> int:
    """A defect of Athena's own: one line for the operator, the traceback in a file for its owner."""
    message = f"{command.name} failed unexpectedly: {type(error).__name__}: {error}"
    hint = f"nothing was assumed; the details are in {_details(command, error)}"
    if command.lenient:  # somebody wanted trading stopped, and must not believe that it is
        message = f"{message}. TRADING MAY STILL BE ON."
        other = "halt" if command.name == "emergency-stop" else "emergency-stop"
        hint = f"athena {other}; else stop the engine's process, then cancel in Alpaca's web page; {hint}"
    _tell(type(error).__name__, message, hint, 1, as_json)
    return 1


def _details(command: Command, error: Exception) -> str:
    """The file that has the traceback; on a full disk there is none, and that is said."""
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="athena-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(f"athena {command.name}\n")
            traceback.print_exception(error, file=log)
    except OSError as reason:
        return f"no file: {reason}"
    return log.name


def _tell(kind: str, message: str, hint: str, exit_code: int, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": kind, "message": message, "next": hint, "exit_code": exit_code}))
        return
    print(f"athena: {message}", file=sys.stderr)
    if hint:
        print(f"  next: {hint}", file=sys.stderr)


def _version() -> str:
    from importlib.metadata import version

    return version("athena")


if __name__ == "__main__":
    sys.exit(main())
