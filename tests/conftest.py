"""What every test shares: no credentials, no proxy, no state of the person who runs the suite."""

import os
import shutil
import sys

from xdist.scheduler.loadscope import LoadScopeScheduling

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

# The files that start most processes run in two lanes, one after the other in each; the files that mostly wait have a
# third, and its worker nothing else: three busy workers on two cores left none for what a test waits for.
_BUSY_LANES = (
    ("playbooks/test_notebooks_rendered", "recovery_engine/test_kills", "widgets/test_control_room"),
    ("monitoring/test_end_to_end", "guard/test_processes", "engine/test_processes", "system/test_demo"),
)
_WAITING_LANE = (
    "recovery_engine/test_faults", "recovery_engine/test_disconnect", "brokers/test_streams", "brokers/test_requests",
    "simulator/test_server_streams", "guard/test_failures", "guard/test_halting", "guard/test_checklist",
    "faults/test_streams", "faults/test_requests", "faults/test_proxy", "playbooks/test_prometheus",
    "monitoring/test_heartbeat", "monitoring/test_answering", "brokers/test_handle", "engine/test_books",
    "guard/test_flag", "system/test_start", "notifications/test_outbox", "schedule/test_process",
    "widgets/test_with_engine", "recovery/test_commands", "monitoring/test_webhook",
)  # fmt: skip
_LANES = (*_BUSY_LANES, _WAITING_LANE)
# Then the long ones: otherwise one worker ends long before the others.
_NEXT = (
    "playbooks/test_nbmake", "recovery_engine/test_simulation",
    "playbooks/test_report", "playbooks/test_notebooks", "system/test_errors", "ops/test_exporter",
    "playbooks/test_runner", "widgets/test_server", "system/test_halt", "guard/test_machine",
    "playbooks/test_nursery", "system/test_emergency",
    "journal/test_crash", "monitoring/test_rules",
    "recovery_engine/test_restart", "monitoring/test_monitor", "widgets/test_lab_command",
)  # fmt: skip
_LANE_OF = {f"tests/{name}.py": f"lane {number}" for number, lane in enumerate(_LANES) for name in lane}
_WAITING = f"lane {len(_BUSY_LANES)}"


def pytest_collection_modifyitems(items):
    """Order whole files; within one, tests stay as they are written."""
    order = [*(name for lane in _LANES for name in lane), *_NEXT]
    rank = {f"tests/{name}.py": number for number, name in enumerate(order)}
    items.sort(key=lambda item: rank.get(_file(item.nodeid), len(order)))


class Lanes(LoadScopeScheduling):
    """Hands whole files to workers, a lane's files to one worker, and to the third worker what mostly waits, only."""

    def _split_scope(self, nodeid):
        return _LANE_OF.get(_file(nodeid), _file(nodeid))

    def _reschedule(self, node):
        if len(self.nodes) > len(_BUSY_LANES) and _WAITING in self.assigned_work[node]:
            if not node.shutting_down:
                node.shutdown()  # when it has run what it has
        else:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config, log):
    """How `-n` divides the suite."""
    return Lanes(config, log)


def _file(nodeid):
    return nodeid.partition("::")[0]
