"""Recovery as an operator types it: real simulator, real engine, killed, doubted, compared, corrected."""

import json
import shutil
import time
from argparse import Namespace
from decimal import Decimal

import pytest
import requests

from athena.cli import main
from athena.journal import Journal
from athena.model import Mode
from tests.engine.processes import desk, wait_for

KEY = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}


class Operator:
    """Types commands in this process, as `athena` does, and reads their JSON."""

    def __init__(self, live, capsys, monkeypatch):
        self.live, self._capsys = live, capsys
        monkeypatch.setenv("ATHENA_HOME", str(live.home))
        monkeypatch.setenv("ATHENA_SIMULATOR_URL", live.url)
        monkeypatch.setenv("ATHENA_READ_TIMEOUT_SECONDS", "3")

    def types(self, *words):
        """Exit code and what it said."""
        self._capsys.readouterr()
        code = main([*words, "--json"])
        return code, Namespace(**json.loads(self._capsys.readouterr().out))

    def venue_time(self):
        """New York time as `--timestamp` takes it."""
        return requests.get(f"{self.live.url}/v2/clock", headers=KEY, timeout=5).json()["timestamp"][:19]

    def post(self, name, symbol="JPM", side="buy", **more):
        body = {"symbol": symbol, "qty": "3", "side": side, "type": "market", "time_in_force": "day"}
        requests.post(
            f"{self.live.url}/v2/orders", headers=KEY, timeout=5, json=body | {"client_order_id": name} | more
        ).raise_for_status()


@pytest.fixture
def operator(tmp_path, capsys, monkeypatch):
    with desk(tmp_path, speed=60) as live:
        yield Operator(live, capsys, monkeypatch)


def trade_a_while(live):
    """An engine that traded; still running."""
    engine = live.start_ready()
    live.guard().resume(reason="test", override=True)
    wait_for(lambda: len(live.posts()) > 8, "orders")
    return engine


@pytest.mark.timeout(150)
def test_after_a_crash_the_truth_is_found_shown_corrected_and_read_back(operator):
    """Killed in mid-trade; while dead, somebody trades. Every command tells the same story; the end is agreement."""
    live = operator.live
    engine = trade_a_while(live)

    def agreed():
        """While orders move, a look on a busy machine may not count, and says so; the next one does."""
        code, told = operator.types("broker-reconciliation")
        return told if code == 0 else None

    told = wait_for(agreed, "a look that counts")
    assert (told.engine, told.findings) == ("engine: running", [])
    assert told.engine_answer["ok"]
    live.guard().halt("test")
    time.sleep(0.5)
    live.kill(engine)
    moment = operator.venue_time()

    operator.post("phone", type="limit", limit_price="1")
    operator.post("athena-breakout-MSFT-lost", "MSFT", type="limit", limit_price="1")
    operator.post("athena-breakout-JPM-filled")
    code, told = operator.types("broker-reconciliation")
    kinds = {(finding["kind"], finding["subject"]) for finding in told.findings}
    assert code == 11
    assert "engine: not running" in told.engine
    assert {("unknown order", "phone"), ("orphan", "athena-breakout-MSFT-lost"), ("quantity", "JPM")} <= kinds
    assert {kind for kind, _ in kinds} == {"unknown order", "orphan", "quantity", "missing fill", "cash"}
    assert all(finding["evidence"] and finding["then"] for finding in told.findings)
    assert operator.types("reconcile-orders")[0] == 11
    code, told = operator.types("position-reconciliation")
    assert {finding["kind"] for finding in told.findings} == {"quantity", "cash"}

    stamp = ("restore-portfolio", "--timestamp", moment)
    code, told = operator.types(*stamp)
    assert code == 10
    assert {one["event"] for one in told.corrections} == {"fill"}  # the venue proves it: nothing is made up
    with Journal.open(live.settings.journal_path, "test", read_only=True) as journal:
        before = journal.head()
    assert operator.types(*stamp, "--apply")[0] == 2  # no reason
    with Journal.open(live.settings.journal_path, "test", read_only=True) as journal:
        assert journal.head() == before  # reading changed nothing
    code, told = operator.types(*stamp, "--apply", "--reason", "after the crash")
    assert (code, told.left) == (0, [])
    code, told = operator.types("position-reconciliation")
    assert (code, told.findings) == (0, [])
    assert operator.types("rebuild-equity-curve")[0] in {0, 10}
    assert operator.types("recalc-metrics")[0] in {0, 10}
    assert operator.types("verify-journal")[0] == 0


@pytest.mark.timeout(150)
def test_a_phantom_fill_is_corrected_by_an_event_that_does_not_pretend_to_be_one(operator):
    """What no execution of the venue explains leaves the books at what it cost, and history stays."""
    live = operator.live
    live.kill(trade_a_while(live))
    requests.delete(f"{live.url}/v2/orders", headers=KEY, timeout=5).raise_for_status()  # nothing fills meanwhile
    operator.types("restore-portfolio", "--timestamp", "2030-01-01 00:00:00", "--apply", "--reason", "late fills")
    with live.journal() as journal:
        told = {"execution_id": "ghost@5", "client_order_id": "x", "broker_order_id": "ghost", "symbol": "KO"}
        at = journal.one("SELECT max(venue_at) AS at FROM events")["at"]
        journal.append("fill", told | {"side": "buy", "quantity": Decimal(5), "price": Decimal(50), "at": at})
        events = journal.head()[0]
    code, told = operator.types("broker-reconciliation")
    assert code == 11
    assert ("phantom", "ghost@5") in {(one["kind"], one["subject"]) for one in told.findings}
    stamp = ("restore-portfolio", "--timestamp", "2020-03-09 15:59:00")
    code, told = operator.types(*stamp, "--apply", "--reason", "a ghost")
    assert (code, told.left) == (0, [])
    with live.journal() as journal:
        made = [event for event in journal.events(after=events) if event.kind == "correction"]
        assert [(event.payload["symbol"], event.payload["quantity"]) for event in made] == [("KO", "-5")]
        assert made[0].payload["reason"] == "a ghost"
        assert journal.verify().ok
    assert operator.types("position-reconciliation")[0] == 0


@pytest.mark.timeout(120)
def test_the_end_to_end_test_proves_an_order_life_and_leaves_nothing(operator):
    """Halted, it proves the refusal; resumed, limit, cancel, buy, sell; on a live account it does not begin."""
    live = operator.live
    (live.home / "athena.toml").write_text("[limits]\nmax_quote_age_seconds = 600\nmax_slippage_bps = 'off'\n")
    assert operator.types("e2e-test")[0] == 6
    live.start_ready()
    code, told = operator.types("e2e-test")
    assert (code, told.verdict) == (10, "ATTENTION")
    assert told.steps[-1]["name"] == "refused while halted"
    assert told.steps[-1]["done"]
    assert live.posts() == []
    live.guard().resume(reason="test", override=True)
    assert live.guard().get_status().mode is Mode.ACTIVE
    code, told = operator.types("e2e-test", "--symbol", "jpm")
    assert code == 0, told.steps
    assert [step["done"] for step in told.steps] == [True] * len(told.steps)
    assert len(live.posts()) == 3
    assert requests.get(f"{live.url}/v2/positions", headers=KEY, timeout=5).json() == []
    assert requests.get(f"{live.url}/v2/orders", headers=KEY, timeout=5).json() == []
    assert operator.types("e2e-test", "--symbol", "NOPE")[0] == 2
    assert operator.types("restore-portfolio", "--timestamp", "2020-03-09 09:40:00", "--apply", "--reason", "x")[0] == 2


@pytest.mark.timeout(150)
def test_snapshots_trades_and_symbols_work_beside_an_engine_and_without_the_venue_nothing_is_concluded(
    operator, tmp_path
):
    """Downloads resume and repeat harmlessly; without a venue every asking command ends with 5 and one message."""
    live = operator.live
    engine = trade_a_while(live)
    code, told = operator.types("snapshot")
    assert code == 0
    code, restored = operator.types("restore-snapshot", told.snapshot["file"], "--to", str(tmp_path / "new.sqlite3"))
    assert (code, restored.events) == (0, told.snapshot["sequence"])
    assert operator.types("restore-snapshot", told.snapshot["file"], "--to", str(live.settings.journal_path))[0] == 3
    assert operator.types("broker-connection-test")[0] == 0
    assert operator.types("update-symbols")[0] == 0
    live.guard().halt("test")
    wait_for(lambda: not requests.get(f"{live.url}/v2/orders", headers=KEY, timeout=5).json(), "no open order")
    assert operator.types("reconcile")[0] in {0, 10}
    live.kill(engine)
    code, _ = operator.types("download-trades", "--days", "3", "--format", "csv")
    assert code == 0
    folder = live.settings.folder / "downloads"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert operator.types("download-trades", "--days", "3", "--format", "csv")[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    code, merged = operator.types("merge-trade-data")
    assert code == 0, merged.conflicts
    assert merged.alone == {"journal": [], "downloads": []}
    (folder / "trades-2020-03-09.csv").unlink()
    assert operator.types("download-trades", "--days", "3", "--format", "csv")[0] == 0
    assert (folder / "trades-2020-03-09.csv").read_bytes() == before["trades-2020-03-09.csv"]
    port, now = int(live.url.rsplit(":", 1)[1]), operator.venue_time()
    live.stop_simulator()
    shutil.rmtree(folder)
    for words in (
        ["reconcile-orders"], ["position-reconciliation"], ["broker-reconciliation"], ["broker-connection-test"],
        ["restore-portfolio", "--timestamp", now], ["download-trades"], ["update-symbols"],
        ["clean-watchlist"],
    ):  # fmt: skip
        code, told = operator.types(*words)
        assert code == 5, words
        assert told.message, words
        assert told.next, words
    assert not (folder / "manifest.json").exists()
    live.start_simulator(port)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["restore-portfolio", "--timestamp", "yesterday"], 2, "2024-01-15 09:30:00"),
        (["reconcile-orders"], 3, "no journal"),
        (["verify-journal"], 3, "no journal"),
        (["snapshot"], 3, "no journal"),
        (["e2e-test"], 6, "engine"),
        (["merge-trade-data", "nowhere.csv"], 2, "there is no file"),
        (["merge-trade-data", "--no-journal"], 2, "nothing to merge"),
        (["restore-snapshot", "nowhere", "--to", "new"], 3, "there is no snapshot"),
        (["recalc-metrics"], 3, "no journal"),
        (["order-analysis"], 3, "no journal"),
        (["rebuild-equity-curve"], 3, "no journal"),
        (["rebuild-equity-curve", "--apply"], 3, "no journal"),
        (["verify-journal", "--accept-head", "x"], 3, "no journal"),
        (["archive-logs", "nowhere.log"], 2, "there is no log"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_typos_and_missing_things_are_one_message_with_a_next_step(tmp_path, capsys, monkeypatch, words, code, says):
    """Nothing is made by asking: no journal, no folder of an account."""
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--home", str(tmp_path / "home")]) == code
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert "next:" in error
    assert not list((tmp_path / "home").rglob("*.sqlite3"))
