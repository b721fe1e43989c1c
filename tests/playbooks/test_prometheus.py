"""Metrics read back: a real Prometheus, one that hangs, one that is no Prometheus, none; and labels that attack."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.ops.processes import free_port
from athena.playbooks.books import monitoring, prometheus
from tests.playbooks.situations import look, situation
from tests.support.programs import require

HOSTILE = 'a"} or vector(1) #\\\n'
EXPOSED = """\
athena_build_info{account="%s",version="0"} 1
athena_build_info{account="another",version="0"} 1
athena_daily_pnl_dollars -123.5
athena_broker_connected 1
athena_guard_violations_total{rule="POSITION_LIMIT"} 3
"""


class Server(ThreadingHTTPServer):
    """Answers every GET by `reply(path)` -> (status, text)."""

    daemon_threads = True

    def __init__(self, reply):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, text = reply(self.path)
                self.send_response(status)
                self.end_headers()
                with suppress(BrokenPipeError):  # whoever asked has given up
                    self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def ask(url, account="simulator", **queries):
    now = datetime.now(UTC)
    settings = Settings(prometheus_url=url, account=account)
    return prometheus.read(
        settings, queries, now - timedelta(minutes=5), now, now={"all": "athena_daily_pnl_dollars{$}"}
    )


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A real Prometheus, scraping a page with one engine of ours, and one of another account."""
    program, folder, port = require("prometheus"), tmp_path_factory.mktemp("prometheus"), free_port()
    with Server(lambda path: (200, EXPOSED % "simulator")) as page:
        (folder / "p.yml").write_text(
            "global: {scrape_interval: 200ms}\nscrape_configs:\n- job_name: athena\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{page.server_port}']\n"
        )
        command = [program, f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            url, limit = f"http://127.0.0.1:{port}", time.monotonic() + 30
            while len(ask(url, pnl="athena_daily_pnl_dollars{$}")["pnl"]) < 1:
                assert time.monotonic() < limit, "Prometheus scraped nothing in 30 s"
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait(10)


def test_a_real_prometheus_answers_for_this_engine(real):
    """Values with aware times, functions in range queries, an empty answer; an unknown account is said."""
    pnl, none = "athena_daily_pnl_dollars{$}", "nothing_at_all{$}"
    found = ask(real, pnl=pnl, sum="sum(rate(athena_guard_violations_total{$}[5m]))", none=none, far="up{$} - up{$}")
    assert found.problem == ""
    assert found.latest("pnl") == -123.5
    assert str(found["pnl"].index.tz) == "UTC"
    assert (len(found["none"]), found.latest("none")) == (0, None)
    assert found.labelled["all"] == {"": -123.5}
    assert 0 <= found.age_seconds < 30
    assert "no engine of account elsewhere" in ask(real, account="elsewhere", pnl=pnl).problem


def test_labels_cannot_leave_their_quotes(real):
    """A label value with quotes, braces and a line break is a value; a question that is refused says why."""
    assert prometheus.matchers(symbol=HOSTILE) == 'symbol="a\\"} or vector(1) #\\\\\\n"'
    found = ask(real, attack=f"athena_daily_pnl_dollars{{{prometheus.matchers(symbol=HOSTILE)}}}")
    assert (found.problem, len(found["attack"])) == ("", 0)
    assert "refused the question (400)" in ask(real, wrong="sum(").problem


def test_a_dead_or_hanging_or_false_prometheus_costs_little_and_is_said(tmp_path):
    """Refused, hanging, not JSON, a proxy's 502: a sentence each; a hang is asked once a system."""
    assert "does not answer at http://127.0.0.1:9 (Connection refused)" in ask("http://127.0.0.1:9", a="up").problem
    held, asked = threading.Event(), []

    def hang(path):
        asked.append(path)
        held.wait(20)
        return 200, "{}"

    with Server(hang) as server:
        assert "hangs: no answer in 2 s" in ask(server.url, a="up", b="up").problem
        assert len(asked) == 1  # the first question; the others are not asked at all
        held.set()
    with Server(lambda path: (200, "<html>a login page</html>")) as server:
        assert "does not answer as one" in ask(server.url, a="up").problem
    with Server(lambda path: (502, "bad gateway")) as server:
        assert "refused the question (502): bad gateway" in ask(server.url, a="up").problem


def test_an_incident_is_joined_with_its_metrics(real, tmp_path):
    """Before, during, last: from Prometheus beside the journal's view; where it is down, the journal stands alone."""
    system = look(situation("busy", tmp_path))
    start, metrics = datetime.now(UTC) - timedelta(minutes=1), (prometheus.CONNECTED, prometheus.LATENCY)
    alone = prometheus.around(system, "What did the metrics say?", metrics, start, None)
    assert "does not answer" in alone.reading
    assert "journal's view above stands alone" in alone.reading
    system.settings, system.unwatched = replace(system.settings, prometheus_url=real, account="simulator"), ""
    section = prometheus.around(system, "What did the metrics say?", metrics, start, None)
    assert section.reading.startswith(f"Prometheus at {real}")
    rows = section.tables[0].frame.to_numpy().tolist()
    assert [rows[0][0], rows[0][3]] == ["Broker connected, 1 or 0", "1.00"]


@pytest.mark.parametrize(
    ("firing", "pnl", "verdict", "words"),
    [
        ([], None, Verdict.ATTENTION, "Prometheus has a profit of"),
        ([{"alertname": "HighSlippage", "severity": "warning"}], 0.0, Verdict.ATTENTION, "Firing: HighSlippage"),
        ([{"alertname": "EngineDown", "severity": "critical"}], 0.0, Verdict.STOP, "Firing: EngineDown"),
    ],
)
def test_the_dashboards_verdict(tmp_path, firing, pnl, verdict, words):
    """A firing critical alert is STOP, a warning ATTENTION, and a profit that is not the journal's is told."""
    system = look(situation("busy", tmp_path))
    own = float(monitoring.checks.usage(system)["pnl"])
    value = own + 400 if pnl is None else own

    def reply(path):
        query = parse_qs(urlsplit(path).query)["query"][0]
        now = time.time()
        if "timestamp(athena_build_info" in query:
            rows = [{"metric": {"job": "athena", "instance": "i"}, "value": [now, str(now)]}]
        elif "ALERTS" in query:
            rows = [{"metric": labels, "value": [now, "1"]} for labels in firing]
        elif "query_range" in path and "pnl" in query:
            rows = [{"metric": {}, "values": [[now - 10, "NaN"], [now, str(value)]]}]
        else:
            rows = []
        return 200, json.dumps({"status": "success", "data": {"result": rows}})

    with Server(reply) as server:
        system.settings = replace(system.settings, prometheus_url=server.url)
        report = monitoring.assess(system)
    assert report.verdict is verdict
    assert words in report.reason
    assert report.numbers["pnl_prometheus"] == pytest.approx(value)
