"""The rooms keep their direction: model <- journal <- core <- live <- ops, playbooks, widgets <- cli, and no cycles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "athena"
BASE = {"model", "errors", "config", "config_tables", "lot", "exchange_days"}
MAY_IMPORT = {
    "model": set(),
    "errors": set(),
    "config_tables": {"errors"},
    "config": {"errors", "config_tables"},
    "lot": {"model"},
    "exchange_days": {"model"},
    "journal": BASE,
    "core": BASE | {"journal"},
    "analysis": {"model", "errors", "lot"},
    "simulator": {"model", "errors", "exchange_days"},
    "live": BASE | {"journal", "core"},
    "ops": BASE | {"journal", "core", "live", "analysis", "simulator", "playbooks"},
    "playbooks": BASE | {"journal", "core", "live", "analysis"},
    "widgets": BASE | {"journal", "core", "live", "analysis", "playbooks", "ops"},
}
MAY_IMPORT["command_table"] = set()
MAY_IMPORT["cli"] = set(MAY_IMPORT)
EXCEPTIONS = {("live/brokers/paper.py", "simulator")}  # the in-process broker is the simulator's exchange


def modules():
    return [path for path in ROOT.rglob("*.py") if "migrations/versions" not in path.as_posix()]


def imported(path):
    """The athena modules a file imports anywhere in it, lazily included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("athena."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "athena":
            yield node.module if node.module != "athena" else f"athena.{node.names[0].name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_the_rooms_below_its_own(path):
    """No module reaches upwards or sideways past what the architecture allows."""
    relative = path.relative_to(ROOT).as_posix()
    room = relative.split("/")[0].removesuffix(".py")
    if room == "__init__":
        return
    for name in imported(path):
        other = name.split(".")[1]
        allowed = other == room or other in MAY_IMPORT[room] or (relative, other) in EXCEPTIONS
        assert allowed, f"athena/{relative} imports {name}; {room} may import {sorted(MAY_IMPORT[room])}"


def test_modules_have_no_import_cycles_at_module_level():
    """Importing any module never needs itself."""
    graph = {}
    for path in modules():
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text())
        graph[name] = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("athena"):
                graph[name].add(node.module)
                graph[name] |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
    graph = {name: {other for other in others if other in graph} for name, others in graph.items()}
    done, path_now = set(), []

    def visit(name):
        assert name not in path_now, " -> ".join([*path_now[path_now.index(name) :], name])
        if name in done:
            return
        path_now.append(name)
        for other in graph[name] - {name}:
            visit(other)
        path_now.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_the_halt_path_imports_nothing_heavy():
    """`athena halt` starts in a blink because nothing it imports is heavy."""
    heavy = {"pandas", "numpy", "plotly", "alpaca", "sqlalchemy", "alembic", "aiohttp", "rich", "requests", "IPython"}
    code = (
        "import sys, athena.cli, athena.live.execution_guard, athena.journal.journal\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
