"""The demo's story: each chapter does what it tells through the commands an operator would type, and sees it happen."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from athena.config import Settings
from athena.errors import AthenaError
from athena.journal.journal import Journal
from athena.model import NEW_YORK, dollars
from athena.ops.processes import Processes, answers

DAY = date(2020, 2, 24)
EARLIER_DAYS = 25
SPEED = 390
SEED = 7
SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "WMT")
SHOCKED = "XOM"
SHOCK_AT, HALT_AT, RESUME_AT, CLOSE_AT = (clock_time(*at) for at in ((11, 0), (12, 45), (13, 30), (16, 0)))


class Story:
    """The chapters of the demo, each of which fails loudly when what it tells did not happen."""

    def __init__(self, settings: Settings, processes: Processes, console: Console, folder: Path) -> None:
        self.settings, self.processes, self.console, self.folder = settings, processes, console, folder
        self.order_log = folder / "simulator-orders.jsonl"
        self.state = folder / "simulator-state.jsonl"
        self._clock: tuple[datetime, float] | None = None
        self._halted = self._refused_before = 0

    def live_through_earlier_days(self) -> None:
        """Fill the journal with the sessions before the day, by the same engine on the exchange in process."""
        from athena.ops.history import live_through

        began = time.monotonic()
        with self._progress("earlier days", EARLIER_DAYS) as advance:
            made = live_through(self.settings, DAY, EARLIER_DAYS, self.state, SEED, advance)
        seconds = time.monotonic() - began
        self._told(f"{made.days} earlier trading days lived through in {seconds:.0f} s: {made.orders:,} orders")

    def start(self) -> None:
        """Start simulator and engine; trading is halted until somebody resumes it."""
        url = self.settings.simulator_url
        self.processes.start(
            "simulator", "simulator", "--start", f"{DAY} 09:27", "--speed", str(SPEED), "--seed", str(SEED),
            "--state", str(self.state), "--order-log", str(self.order_log), "--requests-per-minute", "2000",
        )  # fmt: skip
        self.processes.wait("simulator", lambda: answers(url + "/v2/clock"), "answering")
        self.processes.start("engine", "engine")
        self.journal = Journal.open(self.settings.journal_path, actor="demo", read_only=True)
        self.processes.wait("engine", self._running, "reconciled with the venue")
        self._told(f"simulator at {url} and engine run; positions reconciled; trading starts halted")
        self._wait_until(clock_time(9, 30))
        self._athena("resume", "demo: reconciled, market open")
        self._told("resumed after the checklist held")

    def trade_the_day(self) -> None:
        """The session, with its incident, halt and resume at their times."""
        chapters = [(SHOCK_AT, self.break_something), (HALT_AT, self.halt), (RESUME_AT, self.resume)]
        with self._day() as show:
            while (now := self._venue_time()).time() < CLOSE_AT and now.date() == DAY:
                if chapters and now.time() >= chapters[0][0]:
                    chapters.pop(0)[1]()
                self._check_alive()
                show(now)
                time.sleep(0.1)
        if chapters:
            raise AthenaError("the session closed before the demo's story was told; this machine is too slow for it.")
        self._told(f"16:00 session closed; {self._figures()}")

    def break_something(self) -> None:
        """Blow one symbol's spread out, and wait for its slippage limit to halt it."""
        self._shock(SHOCKED, spread_multiple=60, minutes=90)
        self._told(f"{self._venue_time():%H:%M} INCIDENT: the spread of {SHOCKED} widens sixtyfold", "yellow")

    def halt(self) -> None:
        """Halt from another process; an operator's exit still passes."""
        self._expect_symbol_halt()
        began = time.monotonic()
        self._athena("halt", "demo: the operator does not like what he sees")
        self._halted, self._refused_before = time.time_ns(), self._refused()
        self._told(f"{self._venue_time():%H:%M} halted from another process in {time.monotonic() - began:.2f} s", "red")
        if position := self._largest_position():
            self._athena("close-position", position, "--timeout", "20")
            self._told(f"      the operator's exit of {position} passes and fills", "red")

    def resume(self) -> None:
        """See that only the exit reached the venue meanwhile, then lift the halts after the checklist."""
        self._wait(lambda: self._refused() > self._refused_before, "an order refused after the halt", 30)
        sent = [
            line for line in self._sent_since(self._halted) if "athena-operator" not in str(line["client_order_id"])
        ]
        if sent:
            raise AthenaError(f"{len(sent)} orders reached the venue after the halt: {sent[:3]}")
        refused = self._refused() - self._refused_before
        self._told(f"      meanwhile: {refused} orders refused, none reached the venue", "red")
        self._athena("resume", "demo: looked at it, spread is normal")
        self._athena("resume", "--symbol", SHOCKED, "demo: spread is normal again")
        self._told(f"{self._venue_time():%H:%M} resumed, everything and {SHOCKED}")

    def report(self) -> None:
        """Stop the engine gracefully, then render the day's report."""
        self._wait(lambda: self._venue_time().time() >= clock_time(16, 1), "the close", 30)
        code = self.processes.stop("engine")
        if code != 0:
            raise AthenaError(f"the engine stopped with {code}.", f"Its log: {self.processes.log('engine')}")
        began = time.monotonic()
        with self.console.status("rendering the daily report"):
            result = self.processes.run("daily-report", "--date", str(DAY), "--json", timeout=180)
        if result.returncode not in {0, 10, 11}:
            raise AthenaError(f"the report failed: {result.stderr.strip() or result.stdout.strip()}")
        told = json.loads(result.stdout)
        self.page = Path(told["html"]).with_name("daily_report.html")
        answer = f"[bold]{told['verdict']}[/]. {escape(told['reason'])}"
        self._told(f"daily report in {time.monotonic() - began:.1f} s: {answer}")

    def start_again(self) -> None:
        """The engine once more, for whoever wants to look around; halted, as after any start."""
        self.processes.start("engine", "engine")
        self.processes.wait("engine", self._running, "reconciled with the venue")
        self._told("the engine runs again, halted until you resume it")

    def point_onwards(self) -> None:
        """Where everything is, and what to try next."""
        page, home = os.path.relpath(self.page), os.path.relpath(self.settings.home)
        athena = f"ATHENA_HOME={home} .venv/bin/athena"
        self.console.print(
            f"\nreport    {page}\njournal   {home}/simulator/journal.sqlite3\nlogs      {self.folder}/logs"
        )
        self.console.print("\nThree things to try next:", style="bold")
        self.console.print(f"  1. open {page} in a browser", soft_wrap=True)
        self.console.print(f"  2. {athena} status")
        self.console.print(f"  3. {athena} verify-journal")

    # ------------------------------------------------------------------------------------------------------- helpers

    def _athena(self, *arguments: str) -> str:
        result = self.processes.run(*arguments)
        if result.returncode != 0:
            said = result.stderr.strip() or result.stdout.strip()
            raise AthenaError(f"athena {' '.join(arguments)} failed: {said}")
        return result.stdout

    def _told(self, text: str, colour: str = "green") -> None:
        self.console.print(f"[{colour}]•[/] {text}", soft_wrap=True)

    def _running(self) -> bool:
        """The engine says it runs only once it has reconciled."""
        row = self.journal.one("SELECT details FROM heartbeats WHERE component = 'engine'")
        return row is not None and json.loads(row["details"]).get("state") == "running"

    def _venue_time(self) -> datetime:
        """The venue's clock, asked once and followed since: asking ten times a second would use up its rate limit."""
        if self._clock is None:
            told = _get(self.settings.simulator_url, "/v2/clock", self.settings)
            self._clock = (datetime.fromisoformat(told["timestamp"]).astimezone(NEW_YORK), time.monotonic())
        at, asked = self._clock
        return at + timedelta(seconds=(time.monotonic() - asked) * SPEED)

    def _wait_until(self, at: clock_time) -> None:
        self._wait(lambda: self._venue_time().time() >= at, f"{at:%H:%M}", 60)

    def _wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self._check_alive()
            if time.monotonic() > deadline:
                raise AthenaError(f"the demo waited {seconds:.0f} s in vain for {what}.", f"Logs: {self.folder}/logs")
            time.sleep(0.05)

    def _check_alive(self) -> None:
        for name in ("simulator", "engine"):
            if not self.processes.alive(name):
                raise AthenaError(
                    f"{name} died: {self.processes.last_words(name)}", f"Its log: {self.processes.log(name)}"
                )

    def _expect_symbol_halt(self) -> None:
        row = self.journal.one(
            "SELECT reason FROM halts WHERE target = ? AND origin = 'guard' ORDER BY at DESC LIMIT 1",
            (SHOCKED,),
        )
        if row is None:
            raise AthenaError(f"the slippage limit did not halt {SHOCKED}; the demo expected it to.")
        self._told(f"      the guard halted {SHOCKED} by itself: {escape(row['reason'])}", "yellow")

    def _shock(self, symbol: str, spread_multiple: int, minutes: int) -> None:
        body = {"symbol": symbol, "seconds": minutes * 60, "spread_multiple": spread_multiple}
        _get(self.settings.simulator_url, "/simulator/shocks", self.settings, body)

    def _refused(self) -> int:
        row = self.journal.one("SELECT COUNT(*) AS n FROM orders WHERE status = 'refused'")
        return int(row["n"]) if row else 0

    def _largest_position(self) -> str:
        positions = _get(self.settings.simulator_url, "/v2/positions", self.settings)
        positions.sort(key=lambda p: -abs(float(p["market_value"])))
        return str(positions[0]["symbol"]) if positions else ""

    def _sent_since(self, unix_ns: int) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.order_log.read_text().splitlines()]
        return [line for line in lines if line["method"] == "POST" and line["unix_ns"] > unix_ns]

    def _figures(self) -> str:
        orders = self.journal.one("SELECT COUNT(*) AS n FROM orders WHERE trading_date = ?", (str(DAY),))
        fills = self.journal.one("SELECT COUNT(*) AS n FROM fills WHERE trading_date = ?", (str(DAY),))
        equity = self.journal.one("SELECT equity FROM equity ORDER BY sequence DESC LIMIT 1")
        opening = self.journal.one("SELECT opening_equity FROM trading_days WHERE trading_date = ?", (str(DAY),))
        if not (equity and opening and orders and fills):
            return "no figures yet"
        gain = float(equity["equity"]) - float(opening["opening_equity"])
        return f"P&L {dollars(gain, signed=True)}, {orders['n']} orders, {fills['n']} fills"

    def _progress(self, what: str, total: int) -> Any:
        return _Bar(self.console, what, total)

    def _day(self) -> Any:
        return _Day(self.console, self._figures)


class _Bar:
    """A progress bar as a context; gives the function that advances it by one."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._bar = Progress(
            TextColumn("  {task.description}"), BarColumn(30), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Callable[[], None]:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class _Day:
    """The session as a bar from 9:30 to 16:00, with the day's figures beside it."""

    def __init__(self, console: Console, figures: Callable[[], str]) -> None:
        columns = (TextColumn("  {task.description}"), BarColumn(30), TextColumn("{task.fields[figures]}"))
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("09:30", total=390, figures="")
        self._figures = figures

    def __enter__(self) -> Callable[[datetime], None]:
        self._bar.start()
        return self._show

    def _show(self, now: datetime) -> None:
        done = (now.hour * 60 + now.minute) - 570
        self._bar.update(self._task, completed=done, description=f"{now:%H:%M}", figures=self._figures())

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _get(url: str, path: str, settings: Settings, body: dict[str, Any] | None = None) -> Any:
    headers = {"APCA-API-KEY-ID": settings.key_id, "APCA-API-SECRET-KEY": settings.secret_key}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers={**headers, "Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy
    with opener.open(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")
