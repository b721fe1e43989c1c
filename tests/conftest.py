"""What every test shares: no credentials, no proxy, no state of the person who runs the suite."""

import os

for name in list(os.environ):
    personal = name.startswith(("APCA_", "ATHENA_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}
    if personal and name != "ATHENA_SPEC_DIR":
        del os.environ[name]
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
