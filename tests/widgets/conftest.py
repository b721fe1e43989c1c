"""The guard's fixtures serve the control room's tests too."""

from tests.guard.conftest import engine, filled, handle, settings, started

__all__ = ["engine", "filled", "handle", "settings", "started"]
