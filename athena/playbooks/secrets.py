"""Keeps secrets out of playbooks: the environment a run gets, and what is struck from everything it wrote."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from urllib.parse import quote

from athena.config import Settings

MASK = "[redacted]"
_SECRET = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|WEBHOOK|API_?KEY|_KEY(_ID)?$|^APCA_|DSN$|DATABASE_URL", re.I
)
# What Python, numpy and a kernel need of their surroundings; anything else may be a secret under any name.
_PASSED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|SYSTEMROOT"
    r"|PYTHON(PATH|HASHSEED|DONTWRITEBYTECODE|UTF8|WARNINGS|IOENCODING)|(OMP|OPENBLAS|MKL|NUMEXPR)_NUM_THREADS)$"
)
# And every setting that is no secret: a run judges what its runner does. Its key and its window are given to it.
_SETTINGS = {f"ATHENA_{f.name.upper()}" for f in fields(Settings) if f.repr} | {"ATHENA_WORKING_FOLDER"}
_SETTINGS -= {"ATHENA_KEY_ID", "ATHENA_WINDOW_URL"}


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Only what a read-only playbook needs: an allow-list, so that no secret is inherited whatever its name."""
    return {name: value for name, value in environment.items() if _PASSED.match(name) or name in _SETTINGS}


def secret_values(environment: Mapping[str, str], more: Iterable[str] = ()) -> list[str]:
    """Values of secret-looking variables and `more`, six characters or longer, the longest first."""
    found = {value for name, value in environment.items() if _SECRET.search(name)} | set(more)
    return sorted((value for value in found if len(value) >= 6), key=len, reverse=True)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret struck out, also as JSON, HTML, a URL or Python's repr write it, or two in turn."""
    for secret in secrets:
        once = {write(secret) for write in _WRITERS}
        for form in sorted(once | {write(form) for form in once for write in _WRITERS}, key=len, reverse=True):
            text = text.replace(form, MASK)
    return text


_WRITERS: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),  # as Jinja writes it
    lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    lambda text: quote(text, safe=""),
)
