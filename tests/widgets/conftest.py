"""The guard's fixtures serve the control room's tests too."""

from tests.guard.conftest import engine, handle, settings, started

__all__ = ["engine", "handle", "settings", "started"]
