"""A watched desk: simulator, engine, Prometheus, Alertmanager, the webhook, a Slack and a mail receiver, all real."""

import email
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email import policy
from pathlib import Path
from urllib.request import Request, urlopen

from athena.core.alerts import recent_alerts
from athena.errors import ResumeRefused
from athena.journal.journal import Journal
from athena.ops.monitoring.configuration import write
from athena.ops.processes import free_port
from tests.engine.processes import desk, wait_for
from tests.support.programs import require
from tests.support.receivers import MailBox, Slack

MAIL = """
[notifications]
smtp_host = "127.0.0.1"
smtp_port = {port}
smtp_security = "none"
email_to = ["desk@example.com"]
per_minute = 1000

[contacts]
team_lead = {{ name = "Ada", phone = "+1 555 0100" }}
"""


class Watch:
    """The parts, each to be started, stopped or killed by itself; and what people were told."""

    def __init__(self, folder, live, slack, box):
        self.folder, self.live, self.slack, self.box = folder, live, slack, box
        toml = live.home / "athena.toml"
        toml.write_text(toml.read_text() + MAIL.format(port=box.port))
        self.settings = replace(
            live.settings, reports=folder / "reports", alerts_port=free_port(), metrics_port=0,
            prometheus_url=f"http://127.0.0.1:{free_port()}", alertmanager_url=f"http://127.0.0.1:{free_port()}",
        )  # fmt: skip
        self.target, self.running = folder / "monitoring", {}

    def configure(self, metrics_port, **shorter):
        """What monitoring-config writes; times made shorter where a test needs only what happens, not when."""
        write(replace(self.settings, metrics_port=metrics_port), self.target)
        for name, changes in shorter.items():
            for path in self.target.rglob(f"{name}.yml"):
                text = path.read_text()
                for old, new in changes.items():
                    assert old in text, old
                    text = text.replace(old, new)
                path.write_text(text)

    def start(self, name, *command, **environment):
        self.running[name] = subprocess.Popen(
            command, env={**os.environ, **environment}, start_new_session=True,
            stdout=(self.folder / f"{name}.log").open("a"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        return self.running[name]

    def alertmanager(self):
        self.start(
            "alertmanager", require("prometheus-alertmanager"), f"--config.file={self.target}/alertmanager.yml",
            f"--storage.path={self.folder}/am", "--cluster.listen-address=",
            f"--web.listen-address={self.settings.alertmanager_url.removeprefix('http://')}",
        )  # fmt: skip
        wait_for(lambda: answers(f"{self.settings.alertmanager_url}/-/ready"), "Alertmanager")

    def prometheus(self):
        self.start(
            "prometheus", require("prometheus"), f"--config.file={self.target}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address={self.settings.prometheus_url.removeprefix('http://')}",
        )  # fmt: skip

    def webhook(self):
        s = self.settings
        self.start(
            "webhook", sys.executable, "-m", "athena.cli", "alerts", "serve",
            ATHENA_HOME=str(s.home), ATHENA_SIMULATOR_URL=s.simulator_url, ATHENA_REPORTS=str(s.reports),
            ATHENA_ALERTS_PORT=str(s.alerts_port), SLACK_WEBHOOK_URL=self.slack.url, PYTHONUNBUFFERED="1",
        )  # fmt: skip
        wait_for(lambda: answers(f"http://127.0.0.1:{s.alerts_port}/-/healthy"), "the webhook")

    def stop(self, name, number=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait(20)

    def limit_files(self, size):
        """From now on the webhook can write no file beyond `size` bytes: its disk is full. -1: it has room again."""
        resource.prlimit(self.running["webhook"].pid, resource.RLIMIT_FSIZE, (size, -1))

    def post(self, url, body, **headers):
        with urlopen(Request(url, body, {"Content-Type": "application/json", **headers}), timeout=10) as answer:
            return answer.status

    def alerts(self):
        with Journal.open(self.settings.journal_path, "test", read_only=True) as journal:
            return recent_alerts(journal, 200)

    def state(self, name):
        """How far the newest alert of that name has come; "" when there is none."""
        return next((str(alert.state) for alert in self.alerts() if alert.name == name), "")

    def told(self, name, seconds=60, **wanted):
        """The newest alert of that name once it was told, and what it came to."""

        def found():
            return next(
                (a for a in self.alerts() if a.name == name and a.state == "notified"
                 and all(getattr(a, k) == v for k, v in wanted.items())), None,
            )  # fmt: skip

        return wait_for(found, f"{name} to be told; there are {self.alerts()}", seconds)

    def slack_about(self, name):
        """Slack's messages about an alert, but for that of its end."""
        return [text for text in self.slack.texts if _about(name, text.splitlines()[0])]

    def mails_about(self, name):
        """Mails about an alert, but for that of its end, parsed."""
        parsed = [email.message_from_bytes(content, policy=policy.default) for _, content in list(self.box.mails)]
        return [mail for mail in parsed if _about(name, mail["Subject"])]

    def sent(self, name, seconds=40):
        """Slack's messages and the mails about an alert, once both have come."""

        def both():
            slack, mails = self.slack_about(name), self.mails_about(name)
            return (slack, mails) if slack and mails else None

        return wait_for(both, f"'{name}' in Slack and mail; Slack has {self.slack.texts}", seconds)

    def resume(self, reason):
        def resumed():
            try:
                return self.live.guard().resume(reason=reason)
            except ResumeRefused:
                return None

        wait_for(resumed, "the checklist for resuming", 60)

    def end(self):
        for name in list(self.running):
            process = self.running[name]
            if process.poll() is None:
                self.stop(name)


@contextmanager
def watched(folder, speed=40):
    """The receivers and a desk with an engine that trades; nothing watches it yet. Everything started is stopped."""
    with ExitStack() as stack:
        slack, box = stack.enter_context(Slack()), stack.enter_context(MailBox())
        live = stack.enter_context(desk(folder, speed))
        made = Watch(folder, live, slack, box)
        stack.callback(made.end)
        yield made


def answers(url):
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _about(name, title):
    return name in title and "Over: " not in title


def page_text(alert):
    """The page's HTML without its scripts and styles."""
    html = Path(alert.page).read_text(encoding="utf-8")
    return re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
