"""What operators run. `get_exporter` is here because the operators' playbook imports it from here."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Nothing is imported until it is asked for: `athena halt` passes through here."""
    if name == "get_exporter":
        from athena.ops.exporter import get_exporter

        return get_exporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
