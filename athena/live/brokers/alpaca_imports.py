"""alpaca-py without pandas and numpy: `with pandas_later(): from alpaca... import ...`.

It imports them (more than half of what a starting engine would do) for a table that nobody here asks it for. Meanwhile
stand-ins have their names; each becomes the real one when something is asked of it later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """What is taken from it while `importing` serves as an annotation only; afterwards it is the module itself."""

    importing = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Any if self.importing else getattr(import_module(self.__name__), name)


@contextmanager
def pandas_later() -> Iterator[None]:
    """Keep what is imported inside from importing pandas and numpy, where nobody has imported them yet."""
    made = [_Later(name) for name in ("numpy", "pandas") if name not in sys.modules]
    sys.modules.update({each.__name__: each for each in made})
    try:
        yield
    finally:
        for each in made:
            each.importing = False
            del sys.modules[each.__name__]
