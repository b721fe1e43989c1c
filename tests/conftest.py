"""What every test shares: no credentials, no proxy, no state of the person who runs the suite."""

import os
import shutil
import sys

for name in list(os.environ):
    personal = name.startswith(("APCA_", "ATHENA_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}
    if personal and name != "ATHENA_SPEC_DIR":
        del os.environ[name]
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"

# What tests start compiles a module once, not in each of hundreds of processes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Journals are synchronised at every commit, thousands of times: in memory that costs nothing, and no test pulls a plug.
_MEMORY, _ROOM = "/dev/shm", 2 << 30
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)

# The long files first, those that wait beside those that compute: otherwise one worker ends long before the other.
_FIRST = (
    "monitoring/test_end_to_end", "playbooks/test_notebooks_rendered", "widgets/test_control_room",
    "recovery_engine/test_kills", "recovery_engine/test_faults", "playbooks/test_nbmake", "engine/test_processes",
    "recovery_engine/test_disconnect", "playbooks/test_runner", "recovery_engine/test_simulation", "system/test_halt",
    "guard/test_processes", "recovery/test_commands", "playbooks/test_report", "ops/test_exporter", "system/test_demo",
    "playbooks/test_notebooks", "widgets/test_with_engine", "widgets/test_lab_command", "monitoring/test_monitor",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Order whole files; within one, tests stay as they are written."""
    rank = {f"tests/{name}.py": number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(_FIRST)))
