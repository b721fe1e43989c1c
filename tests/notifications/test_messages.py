"""What arrives: the playbook's own calls in a fresh process, mails as people read them, and no secret anywhere."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from types import SimpleNamespace

import pytest

from athena.cli import main
from athena.config import Settings
from athena.core import channels, message, outbox
from athena.core.delivery import Courier
from athena.core.message import Message
from athena.core.notifications import notify, send_email
from athena.errors import NotificationError, SettingsError
from athena.journal import Journal
from athena.ops import health_parts
from tests.support.receivers import MailBox

PLAYBOOK = """
from athena.core.notifications import send_email

send_email(
    to="trading-team@company.com",
    subject="ATHENA TRADING ALERT",
    body="Guard violation detected. Check dashboard immediately."
)
"""
CANARY = "canary-5f0c"


def fresh(code, home, **environment):
    variables = {"ATHENA_HOME": str(home), "PATH": os.environ["PATH"], **environment}
    command = [sys.executable, *(["-c", code] if isinstance(code, str) else ["-m", "athena.cli", *code])]
    return subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True, timeout=60, check=False)


def parts(content):
    mail = email.message_from_bytes(content, policy=policy.default)
    return mail, mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()


def test_the_playbooks_send_email_works_as_it_stands(settings, box):
    """The snippet of the operators' playbook, in a fresh process: the mail is in the box."""
    done = fresh(PLAYBOOK, settings.home)
    assert done.returncode == 0, done.stderr
    [(recipients, content)] = box.mails
    assert recipients == ["trading-team@company.com"]
    mail = email.message_from_bytes(content, policy=policy.default)
    assert mail["Subject"] == "ATHENA TRADING ALERT"
    assert mail.get_content().strip() == "Guard violation detected. Check dashboard immediately."


def test_without_a_mail_server_the_next_step_is_said(tmp_path):
    """No server set, a wrong address, a dead server: one sentence what to do, and no success."""
    done = fresh(PLAYBOOK, tmp_path)
    assert done.returncode == 1
    assert "no mail server is set" in done.stderr
    assert 'smtp_host = "mail.company.com"' in done.stderr
    settings = Settings(home=tmp_path)
    with pytest.raises(SettingsError, match="'trading team', which is no mail address"):
        send_email("trading team", "s", "b", settings=settings)
    dead = replace(settings, notifications=replace(settings.notifications, smtp_host="127.0.0.1", smtp_port=1))
    with pytest.raises(NotificationError, match="Connection refused") as failure:
        send_email("a@company.com", "s", "b", settings=dead)
    assert "Nothing was sent" in failure.value.hint


def test_a_mail_server_with_a_password_gets_it_from_the_environment(settings, monkeypatch):
    """The password is used, a wrong one is said, and neither is in the settings or the message."""
    with MailBox(user="athena", password=CANARY) as guarded:
        there = replace(settings.notifications, smtp_port=guarded.port, smtp_user="athena")
        own = replace(settings, notifications=there)
        monkeypatch.setenv("ATHENA_SMTP_PASSWORD", CANARY)
        send_email("a@company.com", "subject\nInjected: header", ".\n..dots stay\n", settings=own)
        [(_, content)] = guarded.mails
        mail = email.message_from_bytes(content, policy=policy.default)
        assert mail["Subject"] == "subject Injected: header"
        assert mail["Injected"] is None
        assert mail.get_content().replace("\r\n", "\n") == ".\n..dots stay\n"
        monkeypatch.setenv("ATHENA_SMTP_PASSWORD", "wrong-one")
        with pytest.raises(NotificationError, match="refused the user or ATHENA_SMTP_PASSWORD") as failure:
            send_email("a@company.com", "s", "b", settings=own)
        assert "wrong-one" not in str(failure.value)
        assert CANARY not in repr(own)


@pytest.fixture
def report(settings):
    """A published run as the runner leaves it: page, shared script, mail with an image."""
    folder = settings.reports / "2020-03-09"
    folder.mkdir(parents=True)
    (settings.reports / "assets").mkdir()
    (settings.reports / "assets" / "plotly-1.min.js").write_text("var Plotly = 'the script';")
    page = folder / "drawdown.html"
    page.write_text('<html><script nonce="n" src="../assets/plotly-1.min.js"></script><p>the page</p></html>')
    made = email.message.EmailMessage()
    made["Subject"] = "STOP: drawdown"
    made.set_content("STOP. fell 16 %")
    made.add_alternative(
        '<html><body class="x"><table><tr><td>STOP</td></tr></table><img src="cid:figure-1"></body></html>',
        subtype="html",
    )
    made.get_payload()[1].add_related(b"\x89PNG", "image", "png", cid="<figure-1>")
    eml = folder / "drawdown.eml"
    eml.write_bytes(bytes(made))
    facts = {"reason": "fell 16 %", "action": "halt <now>", "succeeded": True, "error": "", "html": page, "email": eml}
    return SimpleNamespace(name="drawdown_assessment", verdict="STOP", **facts)


def test_a_mail_has_verdict_table_images_contacts_and_the_page(settings, journal, environment, slack, box, report):
    """One mail: the alert above the report's own tables, its image inline, its page attached whole; Slack links it."""
    notify(
        settings, severity="critical", title="Loss <b>limit</b>", body="-$5,100", run=report, journal=journal,
        environment=environment,
    )  # fmt: skip
    Courier(settings, journal, environment).deliver()
    mail, plain, html = parts(box.mails[0][1])
    assert mail["Subject"] == "ATHENA CRITICAL: Loss <b>limit</b> [simulator]"
    assert plain.index("Loss <b>limit</b>") < plain.index("STOP: fell 16 %") < plain.index("Ada Lee, +1 555 0100")
    assert html.index("Loss &lt;b&gt;limit&lt;/b&gt;") < html.index("Ada Lee") < html.index("<td>STOP</td>")
    assert "halt &lt;now&gt;" in html
    assert "Risk manager: not set" in html
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds.count("image/png") == 1
    [page] = list(mail.iter_attachments())
    assert page.get_filename() == "drawdown.html"
    assert "the script" in str(page.get_content())
    [text] = slack.texts
    assert "Loss &lt;b&gt;limit&lt;/b&gt;" in text
    assert f"Page: {report.html}" in text
    assert "Trading team lead: Ada Lee, +1 555 0100, ada@company.com" in text


def test_a_pruned_report_still_makes_a_message(settings, journal, environment, box, report):
    """Files that went between queueing and sending cost the attachment, not the message."""
    notify(settings, severity="warning", title="gone", run=report, journal=journal, environment={})
    report.html.unlink()
    report.email.unlink()
    assert [one.status for one in Courier(settings, journal, {}).deliver()] == ["sent"]
    _, plain, _ = parts(box.mails[0][1])
    assert "STOP: fell 16 %" in plain


def test_links_use_the_reports_url(settings, report):
    """Where the reports are served, messages carry the address people can open."""
    served = replace(settings, notifications=replace(settings.notifications, reports_url="https://desk/reports/"))
    assert message.link(str(report.html), served) == "https://desk/reports/2020-03-09/drawdown.html"
    assert message.link("/elsewhere/x.html", served) == "/elsewhere/x.html"


def test_hostile_text_wakes_nobody_and_breaks_nothing(settings):
    """Alert text is not ours: no Slack mention, no header, no markup gets through, and it is cut to size."""
    hostile = "<!channel> <script>alert(1)</script>\r\nBcc: x@evil\u2028\x00" + "x" * 9_000
    title = message.one_line(hostile)
    said = Message("id", "warning", title, hostile, datetime.now(UTC))
    assert "<" not in message.chat(said, settings)
    made = message.mail(said, settings, settings.notifications.email_to)
    assert made["Bcc"] is None
    assert "<script>" not in made.get_body(("html",)).get_content()
    assert len(title) == 200


def test_no_secret_is_written_anywhere(settings, journal, environment, slack, box):
    """Slack's address, the mail password and Apprise's address are in no file of the system, no output, no repr."""
    slack.answers = [403]
    secrets = {**environment, "ATHENA_SMTP_PASSWORD": CANARY, "ATHENA_APPRISE_PAGER": f"json://u:{CANARY}@127.0.0.1:1/"}
    done = fresh(["send-alert", "hello", "--json"], settings.home, **secrets)
    assert done.returncode == 9, done.stderr
    told = {row["channel"]: row for row in json.loads(done.stdout)["deliveries"]}
    assert (told["slack"]["status"], told["email"]["status"], told["pager"]["status"]) == ("dead", "sent", "queued")
    assert "403: no_service" in told["slack"]["error"]
    shown = fresh(["notifications"], settings.home, **secrets)
    assert shown.returncode == 9
    assert "403: no_service" in shown.stdout
    written = done.stdout + done.stderr + shown.stdout + shown.stderr
    for path in settings.home.rglob("*"):
        if path.is_file():
            written += path.read_text(errors="replace")
    assert CANARY not in written
    assert "canary-slack-secret" not in written


def test_the_commands_say_what_to_do(settings, slack, box):
    """Operators' slips: nothing to say, an unknown id, a typo in an action; then a dead letter retried."""
    there = {"SLACK_WEBHOOK_URL": slack.url}
    assert "send-alert needs a message" in fresh(["send-alert"], settings.home, **there).stderr
    slack.answers = [404]
    assert fresh(["send-alert", "lost", "--severity", "info"], settings.home, **there).returncode == 9
    assert "NOTHING WAS DONE" in fresh(["notifications", "retyr"], settings.home, **there).stderr
    assert "neither waits nor is dead" in fresh(["notifications", "retry", "x.slack"], settings.home, **there).stderr
    done = fresh(["notifications", "retry", "all"], settings.home, **there)
    assert done.returncode == 0, done.stderr
    assert slack.texts[0].startswith("ℹ️ ATHENA: lost")
    assert "0 waiting, none dead" in fresh(["notifications"], settings.home, **there).stdout


def test_a_dead_letter_is_put_away_by_name_and_reason(settings, journal, environment, slack, monkeypatch, capsys):
    """It is no trouble any more and never sent again; without a reason, or already sent, nothing is done."""
    monkeypatch.setenv("ATHENA_HOME", str(settings.home))
    slack.answers = [404]
    notify(settings, severity="info", title="lost", journal=journal, environment=environment)
    notify(settings, severity="info", title="waits", journal=journal, environment=environment)
    courier = Courier(settings, journal, environment)
    assert sorted(one.status for one in courier.deliver()) == ["dead", "sent"]
    sent, dead = outbox.deliveries(journal)
    for arguments, words in (
        (["dismiss", dead["id"]], "dismiss needs a reason"),
        (["dismiss", "--reason", "seen"], "dismiss needs to know what"),
        (["dismiss", sent["id"], "--reason", "seen"], "neither waits nor is dead. NOTHING WAS DONE"),
        (["retry", dead["id"], "--reason", "seen"], "only dismiss takes a reason"),
    ):
        assert main(["notifications", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert health_parts.troubles(journal, settings)
    assert main(["notifications", "dismiss", dead["id"], "--reason", "told by telephone"]) == 0
    assert capsys.readouterr().out == f"dismissed  {dead['id']}\n"
    assert health_parts.troubles(journal, settings) == ()
    assert (outbox.state(journal).dead, outbox.state(journal).waiting) == (0, 0)
    assert main(["notifications", "retry", "all"]) == 0
    assert "nothing is dead" in capsys.readouterr().out
    assert main(["notifications"]) == 0
    assert "told by telephone" in capsys.readouterr().out
    assert courier.deliver() == []
    assert len(slack.bodies) == 2
    assert journal.verify().ok


def test_a_long_message_keeps_its_page_and_its_contacts_in_chat(settings):
    """What Slack would cut off is the body's end, not whom to call."""
    page = str(settings.reports / "2026-03-09" / "page.html")
    long = Message("id1", "critical", "Loss", "<&>" * 2_000, datetime.now(UTC), page)
    text = message.chat(long, settings)
    assert len(text) <= channels.SLACK_MAX
    assert page in text
    assert text.endswith("Broker support: not set")
    assert "Ada Lee" in text
    assert "…\nPage: " in text
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)


def test_a_receiver_that_quotes_the_address_puts_no_secret_into_the_record(settings, slack):
    """Web servers answer "cannot POST /services/..." to an address that is no more: what is recorded has no secret."""
    slack.quotes = True
    slack.answers = [404]
    told = channels.post_slack(slack.url, "x", 5).told
    assert told.startswith("Slack answered 404: Cannot POST …")
    assert "canary" not in told


def test_an_address_that_mail_servers_do_not_take_is_refused(settings):
    """One such recipient would keep the mail from all others."""
    for wrong in ("jürgen@company.com", "a@b@c.com", "a <a@b.com>", "@x", "a b@x"):
        with pytest.raises(SettingsError, match="which is no mail address"):
            send_email(wrong, "s", "b", settings=settings)


def test_bytes_that_are_no_text_keep_no_message_back(settings, box, slack):
    """A script's Latin-1 output, as a command line hands it over, is told with question marks and not refused."""
    body = b"Kurs f\xe4llt".decode(errors="surrogateescape")
    environment = {"SLACK_WEBHOOK_URL": slack.url}
    with Journal.open(settings.journal_path, "test") as journal:
        notify(settings, severity="critical", title=body, body=body, journal=journal, environment=environment)
        assert {one.status for one in Courier(settings, journal, environment).deliver()} == {"sent"}
    assert "Kurs f?llt\nKurs f?llt" in slack.texts[0]
    send_email("a@company.com", body, body, settings=settings)
    assert len(box.mails) == 2
