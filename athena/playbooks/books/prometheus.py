"""Metrics read back from Prometheus, bounded in time, for this engine alone; where it is down, that is said in words.

    metrics = read(settings, {"pnl": "athena_daily_pnl_dollars{$}"}, start, end)
    metrics["pnl"]                                # a series by UTC time, empty where there is none
    metrics.problem                               # "" or why nothing is known

`$` in a query becomes the matchers of the engine of these settings' account, escaped. prometheus-api-client has no
timeout, retries for seconds, leaves labels unescaped, and gives times without a zone: none of that gets past here.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Section
from athena.analysis.tables import Column
from athena.config import Settings
from athena.playbooks.books import pictures
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import table

LIMIT_SECONDS = 2.0  # for one question; questions are asked side by side
POINTS = 240  # of a range; the server refuses more than 11,000
SAMPLE_SECONDS_MAX = 60.0  # an engine whose last scrape is older is not being watched
MACHINE_TIME = "machine time, as New York's"
Form = Callable[[float], str]


@dataclass(frozen=True)
class Metric:
    """One line of an incident's table: what it is, its query, how a value is written."""

    name: str
    query: str
    form: Form = field(default=lambda value: f"{value:,.2f}")


@dataclass(frozen=True)
class Metrics:
    """What was asked and what came: series by name; `problem` where nothing did."""

    url: str
    problem: str = ""
    series: Mapping[str, pd.Series] = field(default_factory=dict)
    labelled: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    age_seconds: float | None = None  # of the last sample of this engine

    def __getitem__(self, name: str) -> pd.Series:
        return self.series.get(name, _EMPTY)

    def latest(self, name: str) -> float | None:
        """The last value that is a number."""
        values = self[name].dropna()
        return None if values.empty else float(values.iloc[-1])


PNL = Metric("Profit of the day, $", "athena_daily_pnl_dollars{$}")
CONNECTED = Metric("Broker connected, 1 or 0", "min(athena_broker_connected{$})")
LATENCY = Metric(
    "Broker's answer, 95th percentile, s",
    "histogram_quantile(0.95, sum by (le) (rate(athena_api_latency_seconds_bucket{$}[1m])))",
    lambda value: f"{value * 1000:,.0f} ms",
)
FAILED = Metric(
    "Requests that failed",
    'sum(rate(athena_api_requests_total{outcome!="ok",$}[1m])) / sum(rate(athena_api_requests_total{$}[1m]))',
    lambda value: f"{value:.1%}",
)
DATA_AGE = Metric("Age of market data, s", "max(athena_market_data_age_seconds{$})", lambda value: f"{value:,.1f} s")
SLIPPAGE = Metric(  # of a histogram with negative buckets the client gives no usable _sum: paid less saved
    "Mean slippage, bps",
    "(rate(athena_slippage_paid_basis_points_total{$}[5m]) - rate(athena_slippage_saved_basis_points_total{$}[5m]))"
    " / rate(athena_slippage_basis_points_count{$}[5m])",
    lambda value: f"{value:.1f} bps",
)
REFUSALS = Metric(
    "Violations a minute", "sum(increase(athena_guard_violations_total{$}[1m]))", lambda value: f"{value:,.1f}"
)

_EMPTY = pd.Series(dtype=float, index=pd.DatetimeIndex([], tz="UTC"))


def escape(value: str) -> str:
    """A label's value inside the quotes of a query: a quote or a line break in it ends nothing."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def matchers(**labels: str) -> str:
    """Equality matchers, `name="value"`, with the values escaped."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


def read(
    settings: Settings, ranges: Mapping[str, str], start: datetime, end: datetime, *,
    now: Mapping[str, str] | None = None,
) -> Metrics:  # fmt: skip
    """Ranges as series and `now` queries as values by label, of this account's engine. Never raises, never waits long.

    A range query that yields several series keeps the first; aggregate in the query.
    """
    url = settings.prometheus_url
    account = matchers(account=settings.account_name)
    try:
        [problem] = _side_by_side([partial(_unreachable, url)])  # looking a name up may hang as well
        if problem:
            return Metrics(url, problem)
        [found] = _side_by_side([partial(_instant, url, f"timestamp(athena_build_info{{{account}}})")])
    except _Silent as error:
        return Metrics(url, str(error))
    if not found:
        told = f"Prometheus at {url} has no engine of account {settings.account_name} among its targets."
        return Metrics(url, told)
    newest = max(found, key=lambda one: float(one["value"][1]))
    own = matchers(**{key: newest["metric"][key] for key in ("job", "instance") if key in newest["metric"]})
    age = datetime.now(UTC).timestamp() - float(newest["value"][1])
    step = max(1, round((end - start).total_seconds() / POINTS))
    asked = [partial(_range, url, query.replace("$", own), start, end, step) for query in ranges.values()]
    asked += [partial(_instant, url, query.replace("$", own)) for query in (now or {}).values()]
    try:
        answers = _side_by_side(asked)
    except _Silent as error:
        return Metrics(url, str(error), age_seconds=age)
    series = {name: _series(answer) for name, answer in zip(ranges, answers, strict=False)}
    labelled = {name: _by_label(answer) for name, answer in zip(now or {}, answers[len(ranges) :], strict=True)}
    return Metrics(url, "", series, labelled, age)


def around(system: System, question: str, metrics: Sequence[Metric], start: datetime, end: datetime | None) -> Section:
    """An incident's section: each metric before, during and now, the first of them drawn with the incident shaded.

    Times are the machine's, as Prometheus keeps them. Where it is down the section says so, and where to look instead.
    """
    now = datetime.now(UTC)
    until = end or now
    length = max(until - start, timedelta(minutes=1))
    first = start - max(length, timedelta(minutes=5))
    last = min(now, until + max(length, timedelta(minutes=5)))
    found = Metrics("", system.unwatched)
    if not system.unwatched:  # one that hangs costs its limit once
        found = read(system.settings, {metric.name: metric.query for metric in metrics}, first, last)
        system.unwatched = found.problem
    if found.problem:
        return Section(question, f"{found.problem} The journal's view above stands alone; `make monitor` starts one.")
    rows = [
        [
            metric.name,
            *(_mean(found[metric.name], *span, metric.form) for span in ((first, start), (start, until))),
            _written(found.latest(metric.name), metric.form),
        ]
        for metric in metrics
    ]
    columns = [Column(key, label) for key, label in zip("mbdn", ("Metric", "Before", "During", "Last"), strict=True)]
    words = f"Prometheus at {found.url}, machine time {start:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC; means."
    drawn = found[metrics[0].name].dropna()
    draw = None
    if len(drawn) > 1:
        spans = [(pd.Timestamp(start), pd.Timestamp(until), "incident")]
        draw = partial(
            pictures.curve, drawn, metrics[0].name, spans=spans, form="%{y:,.4~g}", tick=",.3~g", time=MACHINE_TIME
        )
    return Section(question, words, (table("The metrics around it", rows, *columns),), draw)


def around_halts(system: System, question: str, halts: Sequence[Any]) -> Section:
    """`around` the first of these standing halts."""
    if not halts:
        return Section(question, "Nothing is halted.")
    return around(system, question, (PNL, REFUSALS, CONNECTED, DATA_AGE), min(halt.at for halt in halts), None)


class _Silent(Exception):
    """Prometheus did not answer, or not with data; the text is for people."""


def _unreachable(url: str) -> str:
    """Why no connection can be made; "" where one can. Refused is known at once, before anything is imported."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), LIMIT_SECONDS).close()
    except (OSError, ValueError) as error:
        return f"Prometheus does not answer at {url} ({getattr(error, 'strerror', None) or 'no answer in time'})."
    return ""


def _side_by_side(asked: Sequence[Callable[[], Any]]) -> list[Any]:
    """All answers, or _Silent; a question that hangs costs the limit once, and its thread keeps nobody alive."""
    answers: dict[int, Any] = {}

    def one(number: int, question: Callable[[], Any]) -> None:
        try:
            answers[number] = question()
        except Exception as error:
            answers[number] = _Silent(_words(error))

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(asked)]
    for thread in threads:
        thread.start()
    deadline = datetime.now(UTC) + timedelta(seconds=LIMIT_SECONDS + 0.2)
    for thread in threads:
        thread.join(max(0.0, (deadline - datetime.now(UTC)).total_seconds()))
    for number in range(len(asked)):
        if isinstance(
            answer := answers.get(number, _Silent(f"Prometheus hangs: no answer in {LIMIT_SECONDS:g} s.")), _Silent
        ):
            raise answer
    return [answers[number] for number in range(len(asked))]


def _words(error: Exception) -> str:
    """What a failed question means: the server's own error text where there is one."""
    said = re.search(r"HTTP Status Code (\d+) \(b'(.*)'\)", str(error), re.DOTALL)
    if said is None:
        if "timed out" in str(error) or "Timeout" in type(error).__name__:
            return f"Prometheus hangs: no answer in {LIMIT_SECONDS:g} s."
        return f"Prometheus does not answer as one ({type(error).__name__})."
    try:
        told = json.loads(said[2].encode().decode("unicode_escape"))["error"]
    except (ValueError, KeyError, TypeError):
        told = said[2][:120]
    return f"Prometheus refused the question ({said[1]}): {str(told)[:200]}."


def _connect(url: str) -> Any:
    import requests
    from prometheus_api_client import PrometheusConnect
    from urllib3.util.retry import Retry

    session = requests.Session()
    session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"}  # no proxy takes over loopback
    return PrometheusConnect(url, session=session, retry=Retry(0), timeout=LIMIT_SECONDS)


def _instant(url: str, query: str) -> list[dict[str, Any]]:
    with _connect(url) as client:
        return list(client.custom_query(query))


def _range(url: str, query: str, start: datetime, end: datetime, step: int) -> list[dict[str, Any]]:
    with _connect(url) as client:
        return list(client.custom_query_range(query, start, end, str(step)))


def _series(answer: Sequence[Mapping[str, Any]]) -> pd.Series:
    """The first series of an answer, by aware UTC time; the text "NaN" becomes a gap."""
    if not answer:
        return _EMPTY
    values = answer[0]["values"]
    index = pd.to_datetime([float(at) for at, _ in values], unit="s", utc=True)
    return pd.Series([float(value) for _, value in values], index=index, dtype=float)


def _by_label(answer: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Values by their labels' values, joined; the metric's own name left out."""
    return {
        " ".join(value for name, value in one["metric"].items() if name not in {"__name__", "job", "instance"}): float(
            one["value"][1]
        )
        for one in answer
    }


def _mean(values: pd.Series, start: datetime, end: datetime, form: Form) -> str:
    part = values[(values.index >= pd.Timestamp(start)) & (values.index <= pd.Timestamp(end))].dropna()
    return _written(None if part.empty else float(part.mean()), form)


def _written(value: float | None, form: Form) -> str:
    return style.text(None) if value is None else form(value)
