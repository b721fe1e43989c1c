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

# The long files first, those that wait beside those that compute: otherwise one worker ends long before the others.
# Three workers for two cores: many tests wait for a fault to be noticed, an alert to fire, a page to be drawn.
_FIRST = (
    "monitoring/test_end_to_end", "recovery_engine/test_kills", "playbooks/test_notebooks_rendered",
    "recovery_engine/test_faults", "widgets/test_control_room", "recovery_engine/test_disconnect",
    "engine/test_processes", "playbooks/test_nbmake", "guard/test_processes", "recovery_engine/test_simulation",
    "system/test_demo", "system/test_halt", "recovery/test_commands", "playbooks/test_report", "ops/test_exporter",
    "playbooks/test_runner", "system/test_errors", "system/test_emergency", "playbooks/test_nursery",
    "monitoring/test_webhook", "widgets/test_with_engine", "widgets/test_lab_command", "playbooks/test_notebooks",
    "journal/test_crash", "recovery/test_restore", "monitoring/test_monitor", "guard/test_machine",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Order whole files; within one, tests stay as they are written."""
    rank = {f"tests/{name}.py": number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(_FIRST)))
