"""A real Jupyter server, with or without JupyterLab, in a process of its own on a free port, with a home of its own."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.cookiejar import CookieJar

from athena.ops.processes import free_port
from tests.engine.processes import wait_for

TOKEN = "token-of-this-test"


class Jupyter:
    """A running server: `url` ends with a slash; `token` is how one logs in."""

    def __init__(self, folder, environment, *options, kind="jupyter_server", base="/"):
        self.port, self.token, self.folder = free_port(), TOKEN, folder
        self.url = f"http://127.0.0.1:{self.port}{base}"
        self.work, self.log = folder / "work", folder / "jupyter.log"
        self.work.mkdir(parents=True, exist_ok=True)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "APCA_", "JUPYTER"))
        }
        own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
        own |= {"JUPYTER_TOKEN": TOKEN, "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(folder / "ipython")}
        command = [sys.executable, "-m", kind, "--ip=127.0.0.1", f"--port={self.port}", "--no-browser"]
        command += [f"--ServerApp.base_url={base}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.work}"]
        command += ["--allow-root"] * (os.getuid() == 0)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *options], cwd=self.work, env=kept | own | environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers, f"the Jupyter server, whose log is {self.log}", 60)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return urllib.request.urlopen(self.url + "api", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait(10)


class Client:
    """HTTP as a page does it: cookies of a log-in, the forgery token in a header; or with neither."""

    def __init__(self, server, *, login=True):
        self.server, self.jar = server, CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        if login:
            self.opener.open(f"{server.url}login?token={server.token}").close()

    @property
    def xsrf(self):
        return next((cookie.value for cookie in self.jar if cookie.name == "_xsrf"), "")

    def ask(self, path, body=None, *, raw=None, xsrf=True, headers=()):
        """(HTTP status, JSON answer)."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + "athena/" + path, data=data, headers=dict(headers))
        if data is not None and xsrf:
            request.add_header("X-XSRFToken", self.xsrf)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")


@contextmanager
def jupyter(folder, environment, *options, **keywords):
    """A running Jupyter server; it and its kernels are gone at the end."""
    made = Jupyter(folder, environment, *options, **keywords)
    try:
        yield made
    finally:
        made.stop()
