"""Alpaca's own OpenAPI description as a judge of the simulator's answers.

The description is not shipped: it is looked for beside the project (../shared/spec) or where ATHENA_SPEC_DIR says.
`SPEC` is None where it is absent; tests that need it skip and say so.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FILES = ("alpaca-trading-api.json", "alpaca-market-data-api.json")
ABSENT = (
    "Alpaca's description was not found: put its OpenAPI files in ../shared/spec or name their place in ATHENA_SPEC_DIR"
)

# Where the description is contradicted by what Alpaca really answers, reality wins. Each line carries its reason.
EXEMPT = {
    ("delete", "/v2/positions", "body"): "a close that is refused carries {code, message} as its body, not an order",
    ("get", "/v2/account/portfolio/history", "profit_loss_pct"): "null where there is no base to divide by",
    ("get", "/v2/account/activities", "date"): "described as a date-time, but a plain date in its own example",
    ("get", "/v2/account/activities/{activity_type}", "date"): "the same",
}

# The description offers an activity two shapes of which no field is required, so that each fits both; read by its type:
ACTIVITY = {
    "if": {"properties": {"activity_type": {"const": "FILL"}}},
    "then": {"$ref": "#/components/schemas/TradingActivities"},
    "else": {"$ref": "#/components/schemas/NonTradeActivities"},
}

FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def spec_directory() -> Path | None:
    """Where the description lies, or None."""
    named = os.environ.get("ATHENA_SPEC_DIR")
    place = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "spec"
    return place if all((place / name).is_file() for name in FILES) else None


class Spec:
    """Both descriptions together: which operation a path belongs to, and whether an answer fits it."""

    def __init__(self, directory: Path) -> None:
        self.checked: dict[tuple[str, str, str], int] = {}
        self._operations: list[tuple[re.Pattern[str], str, dict[str, Any], dict[str, Any]]] = []
        for name in FILES:
            document = json.loads((directory / name).read_text())
            # Fewest variables first: /v2/stocks/bars/latest is not the bars of a symbol called "bars".
            for path in sorted(document["paths"], key=lambda path: path.count("{")):
                pattern = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
                self._operations.append((pattern, path, document["paths"][path], document))

    def check(self, method: str, path: str, status: int, body: Any) -> bool:
        """Raises AssertionError, naming each place, when the answer does not fit; False when nothing describes it."""
        for pattern, template, operations, document in self._operations:
            operation = operations.get(method.lower())
            if operation is None or not pattern.fullmatch(path):
                continue
            answers = operation["responses"]
            answer = answers.get(str(status))
            if answer is None:
                assert status >= 400, f"{method} {path} answered {status}; Alpaca describes only {sorted(answers)}"
                return False
            answer = _resolve(answer, document)
            key = (method.lower(), template, str(status))
            self.checked[key] = self.checked.get(key, 0) + 1
            if not answer.get("content"):
                assert status >= 400 or not body, f"{method} {path}: Alpaca describes {status} as empty, got {body!r}"
                return True
            schema = next(iter(answer["content"].values()))["schema"]
            errors = [
                f"{method} {path} {status} at {'.'.join(map(str, error.absolute_path)) or '(top)'}: {error.message}"
                for error in _validator(json.dumps(schema), _id(document)).iter_errors(body)
                if not _is_exempt(method.lower(), template, error, body)
            ]
            assert not errors, "\n".join(errors)
            return True
        return False


def _is_exempt(method: str, template: str, error: Any, body: Any) -> bool:
    where = list(error.absolute_path)
    named = next((part for part in where if (method, template, part) in EXEMPT), None)
    if named == "body":
        return "code" in body[where[0]]["body"]
    return named is not None


def _resolve(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


_DOCUMENTS: dict[int, dict[str, Any]] = {}


def _id(document: dict[str, Any]) -> int:
    _DOCUMENTS[id(document)] = document
    return id(document)


@cache
def _validator(schema: str, document: int) -> Draft202012Validator:
    root = {"components": _json_schema(_DOCUMENTS[document]["components"]), **_json_schema(json.loads(schema))}
    return Draft202012Validator(root, format_checker=FORMATS)


def _json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON Schema's words; prose and examples dropped."""
    if isinstance(node, list):
        return [_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    if {"$ref": "#/components/schemas/NonTradeActivities"} in [*node.get("oneOf", ()), *node.get("anyOf", ())]:
        return ACTIVITY
    plain = {key: _json_schema(value) for key, value in node.items() if key not in ("nullable", "example", "examples")}
    if not node.get("nullable"):
        return plain
    if "enum" in plain:
        plain["enum"] = [*plain["enum"], None]
    if isinstance(plain.get("type"), str):
        return {**plain, "type": [plain["type"], "null"]}
    return {"anyOf": [plain, {"type": "null"}]}


@cache
def load() -> Spec | None:
    """The description, read once, or None where it is absent."""
    directory = spec_directory()
    return Spec(directory) if directory else None
