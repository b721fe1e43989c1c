"""The engine's metrics: real scrapes, a real Prometheus with the playbook's queries, the handle in any process."""

import json
import socket
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from requests.exceptions import ConnectionError, ReadTimeout

from athena.config import Settings
from athena.errors import ResumeRefused
from athena.journal.journal import Journal
from athena.live.api_latency import ENDPOINTS, Latencies, endpoint_of
from athena.live.metrics import LiveMetrics
from athena.live.metrics_counts import ENDINGS, RULES, Counts
from athena.ops import get_exporter
from athena.ops.health import look
from tests.engine.processes import desk, wait_for
from tests.journal.facts import alert
from tests.support.programs import require

QUERIES = {  # the playbook's five, as they stand there
    "pnl": "athena_daily_pnl_dollars",
    "success": 'rate(athena_orders_total{status="filled"}[5m]) / rate(athena_orders_total[5m])',
    "slippage": "rate(athena_slippage_basis_points_sum[5m]) / rate(athena_slippage_basis_points_count[5m])",
    "violations": "increase(athena_guard_violations_total[1h])",
    "latency": "histogram_quantile(0.95, rate(athena_api_latency_seconds_bucket[5m]))",
}
SHARE_FILLED = 'sum(rate(athena_orders_total{status="filled"}[5m])) / sum(rate(athena_orders_total[5m]))'
SIGNED = (
    "(rate(athena_slippage_paid_basis_points_total[5m]) - rate(athena_slippage_saved_basis_points_total[5m]))"
    " / rate(athena_slippage_basis_points_count[5m])"
)


def resume(live):
    def resumed():
        try:
            return live.guard().resume(reason="test")
        except ResumeRefused:
            return None

    wait_for(resumed, "the checklist for resuming")


def ready(engine):
    line = engine.stdout.readline()
    assert "engine ready" in line, line + engine.stderr.read()


def said(live, component):
    with live.journal() as journal:
        row = journal.one("SELECT details FROM heartbeats WHERE component = ?", (component,))
    return json.loads(row["details"]) if row else {}


def get(url, **headers):
    """Status and text of a page, whatever the status."""
    try:
        with urlopen(Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def samples(text):
    return {
        (s.name, *sorted(s.labels.values())): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }


@pytest.fixture(scope="module")
def trading(tmp_path_factory):
    """An engine that trades against a simulator, its metrics on a free port; and that page's address."""
    with desk(tmp_path_factory.mktemp("desk")) as live:
        engine = live.start()
        ready(engine)
        resume(live)
        wait_for(lambda: len(live.posts()) > 10, "orders")
        yield live, said(live, "metrics")["url"]


def test_a_live_scrape_is_what_promtool_calls_well_formed(trading):
    """Names, units, types and help keep the ecosystem's rules."""
    _, url = trading
    status, text = get(url)
    checked = subprocess.run(
        [require("promtool", "prometheus"), "check", "metrics"], input=text, text=True, capture_output=True, timeout=20
    )
    assert (status, checked.returncode, checked.stdout, checked.stderr) == (200, 0, "", "")
    assert "_created" not in text


def test_counters_are_born_at_0_for_every_value_their_label_can_have(trading):
    """The first violation of a rule is an increase from 0, which `increase()` sees."""
    found = samples(get(trading[1])[1])
    assert all(("athena_guard_violations_total", rule) in found for rule in RULES)
    assert all(("athena_orders_refused_total", rule) in found for rule in RULES)
    assert all(("athena_orders_total", ending) in found for ending in ENDINGS)
    assert all(("athena_api_requests_total", endpoint, "timeout") in found for endpoint in ENDPOINTS)
    assert found[("athena_journal_errors_total",)] == 0
    assert found[("athena_playbook_runs_total", "daily_report", "failed")] == 0
    assert found[("athena_guard_check_seconds_count",)] >= found[("athena_journal_commit_seconds_count",)] * 0.01 > 0
    assert 0 < found[("athena_disk_free_ratio",)] < 1


def test_every_order_sent_is_one_observation_of_the_time_the_venue_took(trading):
    """The simulator's own log of order requests and the histogram's count agree."""
    live, url = trading

    def agree():
        before = len(live.posts())
        found = samples(get(url)[1])
        counted = sum(
            v for k, v in found.items() if k[0] == "athena_api_latency_seconds_count" and "orders_submit" in k
        )
        return before <= counted <= len(live.posts()) and counted > 10

    wait_for(agree, "request counts to agree", 10)


def test_a_real_prometheus_answers_the_playbooks_five_queries(trading, tmp_path):
    """P&L as the engine has it, a ratio of orders, a mean slippage of some bps, one rule's violations, milliseconds."""
    live, url = trading
    with prometheus(tmp_path, url) as ask:
        wait_for(lambda: ask("count_over_time(athena_daily_pnl_dollars[1m]) > 4"), "five scrapes")
        live.guard().set_limit("restricted_symbols", ("AAPL", "MSFT"), reason="test")
        refused = 'increase(athena_guard_violations_total{rule="SYMBOL_NOT_ALLOWED"}[1h]) > 0'
        wait_for(lambda: ask(refused), "a refused order in Prometheus")
        live.guard().set_limit("restricted_symbols", (), reason="test")
        answers = {name: ask(query) for name, query in QUERIES.items()}
        (pnl,) = answers["pnl"].values()
        assert -2000 < pnl < 20_000
        assert pnl != 0
        assert answers["success"] == {"filled": 1.0}  # one series over itself: see SHARE_FILLED for the ratio
        (share,) = ask(SHARE_FILLED).values()
        assert 0.05 < share <= 1
        (slippage,), (signed,) = answers["slippage"].values(), ask(SIGNED).values()
        assert 0 < slippage < 100
        assert -100 < signed <= slippage
        rules = {rule for rule, count in answers["violations"].items() if count > 0}
        assert "SYMBOL_NOT_ALLOWED" in rules
        assert set(answers["violations"]) == set(RULES)
        latency = answers["latency"]["orders_submit ok"]
        assert 0 < latency < 2.5
        assert ask("athena_broker_connection_status != 2") == {}


@contextmanager
def prometheus(folder, url):
    """A Prometheus scraping `url` each second; what it gives asks a query: values by their labels."""
    program = require("prometheus")
    host = url.split("/")[2]
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: athena, static_configs: [{{targets: ['{host}']}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"

    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [program, *options, f"--web.listen-address={address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ask(query):
        try:
            _, text = get(f"http://{address}/api/v1/query?{urlencode({'query': query})}")
        except OSError:
            return {}
        if not text.startswith("{"):
            return {}  # still starting
        answer = json.loads(text)
        assert answer["status"] == "success", answer
        own = {"__name__", "job", "instance", "broker"}
        return {
            " ".join(v for k, v in sorted(row["metric"].items()) if k not in own): float(row["value"][1])
            for row in answer["data"]["result"]
            if row["value"][1] != "NaN"
        }

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(10)


def test_counts_agree_with_the_journals_tables(trading):
    """Orders by outcome, violations by rule and measured fills are those the tables hold."""
    live, _ = trading
    with live.journal() as journal:
        reader = LiveMetrics(live.settings, since=0)

        def agree():
            with journal.reading():  # one moment of a journal that goes on being written
                return compared()

        def compared():
            head = journal.head()[0]
            counts = Counts(0)
            counts.catch_up(journal)
            orders = dict(tuple(r) for r in journal.query("SELECT status, COUNT(*) FROM orders GROUP BY status"))
            rules = dict(tuple(r) for r in journal.query("SELECT code, SUM(times) FROM violations GROUP BY code"))
            fills = journal.one("SELECT COUNT(*) FROM fills WHERE bid IS NOT NULL AND ask IS NOT NULL")[0]
            ended = {k: v for k, v in orders.items() if k in ENDINGS}
            same = (ended, rules, fills) == (+counts.orders, +counts.violations, sum(counts.slippage))
            return same and journal.head()[0] == head and orders["filled"] > 5

        wait_for(agree, "a quiet moment in which all agree", 60)
        reader.close()


def test_only_this_machine_is_answered_and_only_on_loopback(trading):
    """A web page that has its name resolve to 127.0.0.1 reads nothing, and there is no other page."""
    _, url = trading
    assert get(url, Host="evil.example")[0] == 421
    assert get(url.replace("/metrics", "/../journal.sqlite3"))[0] == 404
    port = int(url.split(":")[2].split("/")[0])
    with socket.socket() as other:
        other.settimeout(1)
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_the_playbooks_snippet_reads_the_live_engine_and_the_journal_of_a_dead_one(trading):
    """The summary is the engine's while it lives; killed, it is the journal's and says so; the venue cut, not ready."""
    live, url = trading
    exporter = get_exporter(live.settings)
    summary = exporter.get_metrics_summary()
    assert (summary["engine"], summary["source"], summary["guard_state"]) == ("running", url, "active")
    assert summary["broker_connected"]
    assert summary["orders"]["filled"] > 5
    assert summary["api_latency_p95_seconds"] > 0
    assert isinstance(summary, dict)
    assert "filled" in str(summary)
    assert "<table" in summary._repr_html_()
    page = url.replace("/metrics", "/-/ready")
    wait_for(lambda: get(page) == (200, "ready\n"), "a reconciliation that counts while orders move")
    assert {c.name: c.verdict for c in look(live.settings)}["metrics"] == "OK"
    live.stop_simulator()
    wait_for(lambda: get(page)[0] == 503 and "streams are" in get(page)[1], "the cut to show")
    assert samples(get(url)[1])[("athena_broker_connected", "alpaca")] == 0
    assert get(url.replace("/metrics", "/-/healthy"))[0] == 200
    live.kill(live.engines[-1])
    dead = wait_for(lambda: (s := exporter.get_metrics_summary())["engine"] != "running" and s, "a stale heartbeat")
    assert "last heartbeat" in dead["engine"]
    assert dead["source"].startswith("the journal: ")
    assert dead["orders"]["filled"] >= summary["orders"]["filled"]
    assert dead["broker_connected"] is False
    live.start_simulator()


def test_without_a_live_system_there_is_no_exporter(tmp_path):
    """None, and nothing is made on disk by asking."""
    settings = Settings.load({}, home=tmp_path / "home")
    assert get_exporter(settings) is None
    assert not settings.home.exists()


@pytest.mark.timeout(60)
def test_a_taken_port_stops_no_engine_and_is_told(tmp_path):
    """The engine trades on, its console and health-check name the port, and once it is free the page is there."""
    with socket.create_server(("127.0.0.1", 0)) as taken, desk(tmp_path) as live:
        port = str(taken.getsockname()[1])
        engine = live.start(ATHENA_METRICS_PORT=port)
        ready(engine)
        assert f"no metrics on port {port}" in engine.stdout.readline()
        component = next(c for c in look(live.settings) if c.name == "metrics")
        assert component.verdict == "ATTENTION"
        assert port in component.seen
        summary = get_exporter(live.settings).get_metrics_summary()
        assert summary["engine"] == "running"
        assert "journal" in summary["source"]
        taken.close()
        url = wait_for(lambda: said(live, "metrics")["url"], "the page on the freed port", 10)
        assert get(url)[0] == 200


# ------------------------------------------------------------------------------------------ folds, without processes


def fill(number, price, side="buy", bid="99.99", ask="100.01"):
    at = datetime(2020, 3, 9, 15, tzinfo=UTC)
    return {
        "execution_id": f"e{number}", "client_order_id": f"c{number}", "broker_order_id": "", "strategy": "s",
        "symbol": "AAPL", "side": side, "quantity": "1", "price": price, "fee": "0", "at": at, "bid": bid, "ask": ask,
    }  # fmt: skip


def test_the_sum_of_slippage_never_falls_and_both_signs_are_kept_apart(tmp_path):
    """A fill better than the mid would look like a restart to rate(), and one good fill like a huge loss."""
    with Journal.open(tmp_path / "j.sqlite3", "test") as journal:
        counts, sums = Counts(0), []
        for number, price in enumerate(("100.10", "99.80", "100.00", "100.30")):
            journal.append("fill", fill(number, price))
            counts.catch_up(journal)
            sums.append(counts.paid_bps)
        journal.append("fill", fill(9, "101", bid=None, ask=None))  # no mid: not measured
        journal.append("fill", fill(10, "99.90", side="sell"))
        counts.catch_up(journal)
    assert sums == sorted(sums)
    assert (counts.paid_bps, counts.saved_bps, sum(counts.slippage)) == (pytest.approx(50), pytest.approx(20), 5)
    assert counts.mean_slippage_bps == pytest.approx(6)


def test_recent_slippage_is_of_configured_symbols_with_three_fills_and_forgets(tmp_path):
    """Two fills say nothing yet, strangers share one label, and five minutes later nothing is said."""
    with Journal.open(tmp_path / "j.sqlite3", "test") as journal:
        counts = Counts(0, ["AAPL", "MSFT"])
        for number, symbol in enumerate(("AAPL", "XYZ", "AAPL", "MSFT", "XYZ", "AAPL", "XYZ", "MSFT")):
            journal.append("fill", {**fill(number, "100.50"), "symbol": symbol})
        counts.catch_up(journal)
        now = datetime.now(UTC)
        assert counts.recent_slippage(now) == {"AAPL": pytest.approx(50), "other": pytest.approx(50)}
        assert counts.recent_slippage(now + timedelta(seconds=301)) == {}


def test_alerts_and_unwatched_runs_are_counted_by_closed_labels(tmp_path):
    """Each firing and end, each run by its verdict; a failed run is failed; what is not known is other."""
    ran = {"playbook": "trading_halt", "succeeded": True, "verdict": "STOP"}
    with Journal.open(tmp_path / "j.sqlite3", "test") as journal:
        counts = Counts(0)
        assert set(counts.playbook_runs.values()) == set(counts.alerts.values()) == {0}
        journal.append("alert.received", alert(severity="<b>"))
        journal.append("alert.received", alert("a2", severity="critical", status="resolved"))
        journal.append("playbook.ran", ran)
        journal.append("playbook.ran", {**ran, "succeeded": False})
        journal.append("playbook.ran", {**ran, "playbook": "stranger", "verdict": "odd"})
        counts.catch_up(journal)
    assert +counts.alerts == {("other", "firing"): 1, ("critical", "resolved"): 1}
    assert +counts.playbook_runs == {
        ("trading_halt", "stop"): 1, ("trading_halt", "failed"): 1, ("other", "unknown"): 1
    }  # fmt: skip


def test_refusals_journaled_together_count_as_many_as_they_are(tmp_path):
    """A strategy that keeps asking is one line with a number in the journal, and that number in the metrics."""
    line = {"code": "GUARD_HALTED", "message": "again", "symbol": "AAPL", "strategy": "s", "observed": "", "action": ""}
    with Journal.open(tmp_path / "j.sqlite3", "test") as journal:
        journal.append("violation", {**line, "limit_value": "", "times": 40})
        journal.append("violation", {**line, "code": "from a newer Athena", "limit_value": ""})
        counts = Counts(0)
        counts.catch_up(journal)
    assert +counts.violations == {"GUARD_HALTED": 40, "UNKNOWN": 1}
    assert +counts.refused == {"GUARD_HALTED": 40}


def test_labels_are_from_a_closed_set_whatever_is_in_the_path():
    """No order id, symbol or stranger's path makes a series of its own."""
    asked = {
        ("POST", "/v2/orders"): "orders_submit",
        ("GET", "/v2/orders?status=open"): "orders_read",
        ("GET", "/v2/orders:by_client_order_id?client_order_id=x"): "orders_read",
        ("DELETE", "/v2/orders/904837e3-3b76-47ec-b432-046db621571b"): "orders_cancel",
        ("GET", "/v2/account/activities/FILL?page_size=100"): "activities",
        ("GET", "/v2/account"): "account",
        ("PATCH", "/v2/account/configurations"): "configuration",
        ("DELETE", "/v2/positions/BRK.B"): "positions_close",
        ("GET", "/v2/stocks/quotes/latest?symbols=AAPL"): "market_data",
        ("GET", "/"): "other",
        ("GET", ""): "other",
    }
    assert {key: endpoint_of(*key) for key in asked} == asked
    assert set(asked.values()) <= set(ENDPOINTS)


def test_a_request_without_an_answer_is_a_timeout_or_a_failure():
    """Silence, a refused connection and each kind of status are told apart."""
    latencies = Latencies()
    for error, status in (
        (ReadTimeout(), 0),
        (ConnectionError(), 0),
        (None, 200),
        (None, 429),
        (None, 422),
        (None, 503),
    ):
        try:
            with latencies.watch("GET", "/v2/clock") as watch:
                watch.status = status
                if error:
                    raise error
        except (ReadTimeout, ConnectionError):
            pass
    counted = {outcome: sum(counts) for (_, outcome), (counts, _) in latencies.read().items()}
    assert counted == {"timeout": 1, "failed": 2, "ok": 1, "rate_limited": 1, "refused": 1}
