"""Every error Athena raises on purpose. Each says what happened, the value, and the next step.

AthenaError                     exit 1
├── SettingsError               exit 2   a setting, option or parameter is wrong
├── JournalError                exit 3   the journal cannot be read or written
│   ├── JournalMissing                   there is none here: a mistyped home or account, or it was deleted
│   └── JournalCorrupt                   its hash chain or its pages are broken
├── GuardError                  exit 4   the guard could not do what was asked
│   ├── ResumeRefused                    the checklist for resuming does not hold
│   └── ApprovalNeeded                   a second operator must approve; asked, and nothing changed yet
├── BrokerError                 exit 5   the venue could not be asked, or said no
│   ├── BrokerUnavailable                no answer: nothing was learnt
│   ├── AmbiguousSubmission              an order may or may not have reached the venue
│   ├── AuthenticationFailed             the key is wrong
│   ├── RateLimited                      asked too often
│   └── OrderRejected                    the venue refused the order, with its reason
├── EngineNotRunning            exit 6   a command needs a live engine and there is none
├── SimulatorError              exit 7   the simulator could not start or read its market
├── PlaybookError               exit 8   a playbook could not run to its verdict
└── NotificationError           exit 9   a message could not be sent
"""

from __future__ import annotations

from collections.abc import Iterable


class AthenaError(Exception):
    """What happened; `hint` is the operator's next step."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class SettingsError(AthenaError):
    """A setting, an option or a parameter is wrong; nothing was started."""

    exit_code = 2


class JournalError(AthenaError):
    """The journal cannot be opened, read or written."""

    exit_code = 3


class JournalMissing(JournalError):
    """There is no journal where one was looked for."""


class JournalCorrupt(JournalError):
    """The journal's pages or its hash chain are broken."""


class GuardError(AthenaError):
    """The guard could not do what was asked; trading stays as restricted as it was, or more."""

    exit_code = 4


class ResumeRefused(GuardError):
    """The checklist for resuming does not hold; `failed` names the lines that do not."""

    def __init__(self, message: str, hint: str = "", failed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.failed = failed


class ApprovalNeeded(GuardError):
    """A second operator must approve; `request` is the id to approve. Nothing has changed yet."""

    def __init__(self, message: str, hint: str = "", request: str = "") -> None:
        super().__init__(message, hint)
        self.request = request


class BrokerError(AthenaError):
    """The venue could not be asked, or said no."""

    exit_code = 5


class BrokerUnavailable(BrokerError):
    """No answer, or none that can be read: nothing was learnt, and nothing may be concluded."""


class AmbiguousSubmission(BrokerError):
    """An order may or may not have reached the venue; ask by its client order id before anything else."""


class AuthenticationFailed(BrokerError):
    """The venue does not accept the key."""


class RateLimited(BrokerError):
    """The venue says requests come too fast; `retry_after_seconds` by its headers."""

    def __init__(self, message: str, hint: str = "", retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class OrderRejected(BrokerError):
    """The venue refused the request: its HTTP status, code and message."""

    def __init__(self, message: str, hint: str = "", status: int = 0, code: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class EngineNotRunning(AthenaError):
    """A command needs a live engine and there is none."""

    exit_code = 6


class SimulatorError(AthenaError):
    """The simulator could not start, or could not read its market."""

    exit_code = 7


class PlaybookError(AthenaError):
    """A playbook could not run to its verdict."""

    exit_code = 8


class NotificationError(AthenaError):
    """A message could not be sent, or nobody knows whether it was."""

    exit_code = 9


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint for a mistyped name: the nearest known one, else `otherwise`."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), 1, 0.6)
    return f"Did you mean '{found[0]}'?" if found else otherwise
