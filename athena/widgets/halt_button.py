"""The HALT button of a notebook: its front-end asks the Jupyter server, so that the kernel may be busy, hung or dead.

    HaltButton(settings)                                   # everything
    HaltButton(settings, scope="symbol", target="AAPL")

Where the server has no part of Athena's the button says so and comes here instead.
"""

from __future__ import annotations

import os
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.widgets.asked import HaltAsked, read_texts
from athena.widgets.halt_job import Halts, annotate

SCRIPT = Path(__file__).parent / "lab" / "athena" / "static" / "halt.js"
ANSWER_SECONDS = 0.7


class HaltButton(anywidget.AnyWidget):
    """A big red button for one live system, or one symbol or strategy of it; always enabled, one click."""

    _esm = SCRIPT
    scope = traitlets.Unicode("global").tag(sync=True)
    target = traitlets.Unicode("").tag(sync=True)
    system = traitlets.Dict().tag(sync=True)
    notebook = traitlets.Unicode("").tag(sync=True)

    def __init__(self, settings: Settings | None = None, scope: str = "global", target: str = "") -> None:
        self._settings = settings or Settings.load(lenient=True)
        HaltAsked.read({"key": "constructor", "scope": scope, "target": target})
        named = {"home": str(self._settings.home.absolute()), "account": self._settings.account_name}
        super().__init__(
            scope=scope, target=target, system=named, notebook=f"notebook {notebook_name()}" if notebook_name() else ""
        )
        self._halts = Halts(workers=2)
        self.on_msg(self._asked)

    def _asked(self, _: Any, content: dict[str, Any], __: Any) -> None:
        """A request of the front-end that the server could not take; answered, and never raising into the void."""
        try:
            facts = self._answer(str(content.get("kind")), dict(content.get("facts") or {}))
            self.send({"id": content.get("id"), "facts": facts})
        except AthenaError as error:
            self.send({"id": content.get("id"), "error": str(error)})
        except Exception as error:
            self.send({"id": content.get("id"), "error": f"{type(error).__name__}: {error}"})

    def _answer(self, kind: str, facts: dict[str, Any]) -> dict[str, Any]:
        facts = {name: value for name, value in facts.items() if name not in self.system}
        if kind == "reason":
            texts = read_texts(facts, ("halt", "reason", "notebook"))
            sequence = annotate(self._settings, texts["halt"], texts["reason"], texts["notebook"])
            return {"sequence": sequence, "reason": texts["reason"]}
        if kind not in {"halt", "proof"}:
            raise SettingsError(f"'{kind}' is nothing this button does.")
        asked = HaltAsked.read(facts)
        job = self._halts.find(asked.key) if kind == "proof" else self._halts.begin(self._settings, asked)
        if job is None:
            raise SettingsError("this kernel knows of no such halt.", "See athena status.")
        wait([job.finished], ANSWER_SECONDS)
        return job.snapshot()


def notebook_name() -> str:
    """The notebook this kernel runs, as Jupyter says it; "" outside one."""
    return Path(os.environ.get("JPY_SESSION_NAME", "")).name
