"""The brokers Athena knows, by name. Importing this is cheap: a broker's own libraries load when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class _Registry(Mapping[str, Any]):
    """Name -> broker class; the class's module is imported at the first look."""

    _places = {
        "alpaca": ("athena.live.brokers.alpaca", "AlpacaBroker"),
        "paper": ("athena.live.brokers.paper", "PaperBroker"),
    }

    def __getitem__(self, name: str) -> Any:
        module, attribute = self._places[name]
        return getattr(import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<brokers: {', '.join(self._places)}>"


BROKER_REGISTRY: Mapping[str, Any] = _Registry()


def __getattr__(name: str) -> Any:
    if name == "make_broker":
        return import_module("athena.live.brokers.alpaca").make_broker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
