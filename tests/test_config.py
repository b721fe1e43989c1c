"""Settings: defaults that are safe, errors that name the key."""

import pytest

from athena.config import LIVE_CONFIRMATION, Settings
from athena.errors import SettingsError

KEYS = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "canary-secret"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(environment=None, tmp_path=None, **overrides):
    return Settings.load({"ATHENA_HOME": "/nonexistent/athena", **(environment or {})}, **overrides)


def test_without_credentials_everything_is_the_simulator_on_loopback():
    """The default venue costs no money and leaves the machine alone."""
    settings = load()
    assert (settings.venue, settings.trading_url) == ("simulator", "http://127.0.0.1:8710")
    assert settings.trading_stream_url == "ws://127.0.0.1:8710/stream"
    assert settings.data_stream_url == "ws://127.0.0.1:8710/v2/iex"


def test_both_keys_mean_alpaca_paper():
    """Alpaca's own two variables are all it takes for paper."""
    settings = load(KEYS)
    assert settings.venue == "paper"
    assert settings.trading_url == "https://paper-api.alpaca.markets"


def test_live_is_refused_without_the_second_setting():
    """Real money needs a sentence nobody types by accident."""
    with pytest.raises(SettingsError, match="real money"):
        load({**KEYS, "ATHENA_VENUE": "live"})
    assert load({**KEYS, "ATHENA_VENUE": "live", "ATHENA_ALLOW_LIVE": LIVE_CONFIRMATION}).venue == "live"


def test_the_secret_is_in_no_repr():
    """A settings object in a notebook shows no secret."""
    assert "canary" not in repr(load(KEYS))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"APCA_API_KEY_ID": "PKTEST"}, "APCA_API_SECRET_KEY is empty"),
        ({"ATHENA_VENEU": "paper"}, "Did you mean 'venue'"),
        ({"ATHENA_VENUE": "papr"}, "Did you mean 'paper'"),
        ({"ATHENA_METRICS_PORT": "eighty"}, "metrics_port is 'eighty'"),
        ({"ATHENA_METRICS_PORT": "-1"}, "metrics_port is -1"),
        ({"ATHENA_READ_TIMEOUT_SECONDS": "nan"}, "read_timeout_seconds is nan"),
        ({"ATHENA_SAFE_MODE": "perhaps"}, "safe_mode is 'perhaps'"),
        ({"ATHENA_SIMULATOR_URL": "http://10.0.0.1:1"}, "loopback"),
        ({"ATHENA_ACCOUNT": "../other"}, "account is '../other'"),
        ({"ATHENA_SIMULATOR_URL": "http://127.0.0.1:99999"}, "a port is a number"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(environment, words):
    """Each bad setting gives one message that names the key, the value and the way out."""
    with pytest.raises(SettingsError) as caught:
        load(environment)
    assert words in str(caught.value)


def test_a_toml_file_is_read_and_a_wrong_key_in_it_is_named(tmp_path):
    """athena.toml in the working folder counts, and a typo in it is not passed over."""
    (tmp_path / "athena.toml").write_text(
        'symbols = ["aapl"]\n[[strategies]]\nname = "m"\nkind = "momentum"\nsymbols = ["aapl"]\nwindow = 5\n'
    )
    settings = load()
    assert settings.symbols == ("AAPL",)
    assert settings.strategies[0].parameters == {"window": 5}
    (tmp_path / "athena.toml").write_text("symbol = 3\n")
    with pytest.raises(SettingsError, match="Did you mean 'symbols'"):
        load()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbols = 5", "symbols is 5"),
        ("limits = 5", "[limits] table"),
        ('strategies = "x"', "[[strategies]] tables"),
        ("reports = 5", "reports is 5"),
        ('[[strategies]]\nname = "m"\nkind = "k"\nsymbols = [1]', "symbols of strategy m is [1]"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(tmp_path, text, words):
    """A number where a list belongs is one message, not a TypeError."""
    (tmp_path / "athena.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert words in str(caught.value)


def test_one_symbol_written_as_text_is_one_symbol(tmp_path):
    """`symbols = "AAPL"` in a strategy never trades A, A, P and L."""
    (tmp_path / "athena.toml").write_text('[[strategies]]\nname = "m"\nkind = "k"\nsymbols = "aapl"\n')
    assert load().strategies[0].symbols == ("AAPL",)


@pytest.mark.parametrize(("typed", "meant"), [("papr", "paper"), ("LIVE", "live"), ("prod", "simulator")])
def test_an_emergency_starts_although_the_venue_is_mistyped(typed, meant):
    """The halt goes to the venue that was meant; where nobody can tell, to the one the keys say."""
    assert load({"ATHENA_VENUE": typed}, lenient=True).venue == meant


def test_an_emergency_starts_although_the_settings_are_broken(tmp_path):
    """A typo elsewhere never stops a halt."""
    (tmp_path / "athena.toml").write_text("not toml at all [")
    settings = load({"ATHENA_VENEU": "paper"}, lenient=True)
    assert settings.account_name == "simulator"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[contacts]\nteam_led = { name = 'A' }", r"contacts\.team_led is not a setting\. Did you mean 'team_lead'"),
        ("[contacts.team_lead]\nphon = '1'", r"contacts\.team_lead\.phon is not a setting\. Did you mean 'phone'"),
        ("[contacts.team_lead]\nemail = 'nobody'", r"contacts\.team_lead\.email has 'nobody'"),
        ("[notifications]\nsmtp_hots = 'm'", r"notifications\.smtp_hots is not a setting\. Did you mean 'smtp_host'"),
        ("[notifications]\nper_minute = 0", r"notifications\.per_minute is 0; a positive whole number"),
        ("[notifications]\nsmtp_password = 'x'", "is a secret and does not belong into a file"),
        ("[notifications]\ncritical = ['Slack!']", r"notifications\.critical has the channel 'Slack!'"),
        ("[notifications]\nsmtp_host = 'mail.co'\nsmtp_security = 'none'", "in the clear"),
        ("[notifications]\nsmtp_security = 'tsl'", r"Did you mean 'tls'"),
        ("[schedule]\npre_market = '8 am'", r"schedule\.pre_market is '8 am'"),
        ("[schedule]\ncatch_up_minutes = nan", r"schedule\.catch_up_minutes is nan"),
        ("prometheus_url = 'http://u:pw@host:9090'", "prometheus_url is not an address without a password"),
    ],
)
def test_a_wrong_key_or_value_in_a_table_is_named(tmp_path, table, words):
    """Contacts, notifications and schedule: the full name of the bad key, and the nearest good one."""
    (tmp_path / "athena.toml").write_text(table)
    with pytest.raises(SettingsError, match=words):
        load()
    assert load(lenient=True).venue == "simulator"
