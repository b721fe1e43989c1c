"""The same schedule for those who prefer systemd or cron: both only wake `athena schedule --once`, which knows more.

New York's time, holidays, early closes and what has run already are judged there, so a unit that fires too often does
no harm, and one that was missed is caught up.
"""

from __future__ import annotations

import shutil
import sys
from datetime import date, datetime, time
from pathlib import Path
from shlex import quote

from athena.config import Settings

_CLOSE, _EARLY_CLOSE = time(16, 0), time(13, 0)
EVERY_MINUTES = 5


def systemd(settings: Settings) -> str:
    """Three user units as one text; the comment at its top says how to install them."""
    conf = settings.schedule
    times = sorted({conf.pre_market, conf.market_open, _after_early_close(conf.post_market), conf.post_market})
    command = _command(settings).replace("%", "%%").replace("$", "$$")
    calendar = "\n".join(f"OnCalendar=Mon..Fri *-*-* {at}:00 America/New_York" for at in times)
    return f"""\
# Put each part into the file it names under ~/.config/systemd/user/, secrets (SLACK_WEBHOOK_URL, ...) as NAME='value'
# lines into {_environment(settings)} (chmod 600), then:
#   systemctl --user daemon-reload
#   systemctl --user enable --now athena-schedule.timer athena-courier.service
#   loginctl enable-linger
# Times are New York's, through changes of daylight saving time; a missed one is caught up (Persistent).

# --- athena-schedule.timer
[Unit]
Description=Athena: the trading day's procedures, {settings.account_name}

[Timer]
{calendar}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target

# --- athena-schedule.service
[Unit]
Description=Athena: run what is due, {settings.account_name}

[Service]
Type=oneshot
{_service(settings)}
ExecStart={command} schedule --once
TimeoutStartSec=30min

# --- athena-courier.service
[Unit]
Description=Athena: deliver messages, {settings.account_name}

[Service]
{_service(settings)}
ExecStart={command} notifications deliver --follow
Restart=always
RestartSec=5s

[Install]
WantedBy=default.target
"""


def cron(settings: Settings) -> str:
    """Crontab lines. No time zone is needed in them: not every cron knows CRON_TZ, and --once knows New York's time."""
    log = quote(str(settings.folder.resolve() / "schedule.log"))
    file = quote(str(_environment(settings)))
    begin = f"set -a; [ -f {file} ] && . {file}; cd {quote(str(Path.cwd()))} && {_command(settings)}"
    runs = f"{begin} schedule --once >>{log} 2>&1".replace("%", r"\%")  # a bare % ends a crontab's command
    delivers = f"{begin} notifications deliver >/dev/null 2>>{log}".replace("%", r"\%")
    return f"""\
# crontab -e; secrets as NAME='value' lines in {_environment(settings)} (chmod 600).
# Every {EVERY_MINUTES} minutes: --once runs what is due in New York now, whatever this machine's time zone.
*/{EVERY_MINUTES} * * * * {runs}
* * * * * {delivers}
"""


def _after_early_close(post_market: str) -> str:
    """As long after an early close as the usual time is after the usual one."""
    day = date.min
    late = datetime.combine(day, time.fromisoformat(post_market)) - datetime.combine(day, _CLOSE)
    return f"{datetime.combine(day, _EARLY_CLOSE) + late:%H:%M}"


def _service(settings: Settings) -> str:
    return f"EnvironmentFile=-{_environment(settings)}\nWorkingDirectory={Path.cwd()}".replace("%", "%%")


def _environment(settings: Settings) -> Path:
    return settings.home.resolve() / "environment"


def _command(settings: Settings) -> str:
    """This very installation, for this very live system."""
    beside = Path(sys.executable).parent / "athena"
    program = str(beside) if beside.exists() else shutil.which("athena") or "athena"
    home = quote(f"ATHENA_HOME={settings.home.resolve()}")
    return f"/usr/bin/env {home} ATHENA_ACCOUNT={settings.account_name} ATHENA_VENUE={settings.venue} {quote(program)}"
