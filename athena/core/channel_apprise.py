"""Whatever Apprise knows, as one more channel. Apprise says only whether a message went, not what became of it.

Why it did not go is read from what Apprise logs of the attempt: an answer with an error, or no connection, is certainly
not delivered and tried again for a day; a time-out or a broken connection after the message was handed over is in
doubt, as on the other channels: once more at most, then a dead letter. Where it logs nothing of the kind, its time-out
decides. None of this is certain, so every further attempt on these channels says that it may be a repeat.
"""

from __future__ import annotations

import logging
import re
import time

from athena.core.channels import Fate, Outcome, apprise_variable

_REASONS = ("Socket Exception", "Failed to send")  # other lines quote the message, which may be about time-outs
_BROKEN = re.compile(r"Read timed out|Connection aborted|RemoteDisconnected|Connection broken")
_NEVER_TAKEN = re.compile(r"NewConnectionError|ConnectTimeout|NameResolutionError|SSLError|error=\d")


def send_apprise(url: str, channel: str, title: str, body: str, severity: str) -> Outcome:
    """One message to one Apprise address; UNSURE where it may have arrived although Apprise says it did not go."""
    import apprise

    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)  # for its result's log, which may quote the address and is shown nowhere
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    sender = apprise.Apprise()
    if not sender.add(url):
        return Outcome(Fate.REFUSED, f"{apprise_variable(channel)} is no address that Apprise knows")
    kinds = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
    kind, began = kinds.get(severity, apprise.NotifyType.FAILURE), time.monotonic()
    result = sender.notify(
        body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT, log_level=logging.DEBUG
    )
    if result:
        return Outcome(Fate.SENT, f"{channel} took it")
    said = "\n".join(entry.message for entry in result.logs() if entry.message.startswith(_REASONS))
    slow = time.monotonic() - began >= min(server.socket_read_timeout for server in sender)
    if _BROKEN.search(said) or (slow and not _NEVER_TAKEN.search(said)):
        return Outcome(Fate.UNSURE, f"{channel}: Apprise got no answer; it may have arrived")
    return Outcome(Fate.LATER, f"{channel}: Apprise could not deliver it")
