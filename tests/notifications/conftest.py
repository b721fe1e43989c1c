import pytest

from athena.config import Settings
from athena.journal import Journal
from tests.support.receivers import MailBox, Slack


@pytest.fixture
def slack():
    with Slack() as receiver:
        yield receiver


@pytest.fixture
def box():
    with MailBox() as server:
        yield server


@pytest.fixture
def settings(tmp_path, box):
    """A live system whose mail goes to `box`, and whose receivers may take their time: machines of tests are busy."""
    return load(tmp_path, box.port)


def load(home, port):
    (home / "athena.toml").write_text(
        "[notifications]\n"
        'email_to = ["desk@company.com", "risk@company.com"]\n'
        f'smtp_host = "127.0.0.1"\nsmtp_port = {port}\nsmtp_security = "none"\ntimeout_seconds = 10\n'
        'info = ["slack"]\n'
        "[contacts]\n"
        'team_lead = { name = "Ada Lee", phone = "+1 555 0100", email = "ada@company.com" }\n'
    )
    return Settings.load({"ATHENA_HOME": str(home)}, reports=home / "reports")


@pytest.fixture
def journal(settings):
    with Journal.open(settings.journal_path, "test") as opened:
        yield opened


@pytest.fixture
def environment(slack):
    return {"SLACK_WEBHOOK_URL": slack.url}
