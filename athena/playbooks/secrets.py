"""Keeps secrets out of playbooks: the environment a run gets, and what is struck from everything it wrote."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

MASK = "[redacted]"
_SECRET = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|WEBHOOK|API_?KEY|_KEY(_ID)?$|^APCA_|DSN$|DATABASE_URL", re.I
)
# What Python, numpy and a kernel need of their surroundings; anything else may be a secret under any name.
_PASSED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|SYSTEMROOT"
    r"|PYTHON(PATH|HASHSEED|DONTWRITEBYTECODE|UTF8|WARNINGS|IOENCODING)|(OMP|OPENBLAS|MKL|NUMEXPR)_NUM_THREADS"
    r"|ATHENA_(HOME|ACCOUNT|OPERATOR|REPORTS))$"
)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Only what a read-only playbook needs: an allow-list, so that no secret is inherited whatever its name."""
    return {name: value for name, value in environment.items() if _PASSED.match(name)}


def secret_values(environment: Mapping[str, str], more: Iterable[str] = ()) -> list[str]:
    """Values of secret-looking variables and `more`, six characters or longer, the longest first."""
    found = {value for name, value in environment.items() if _SECRET.search(name)} | set(more)
    return sorted((value for value in found if len(value) >= 6), key=len, reverse=True)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret struck out, also where JSON, HTML or a URL writes it differently."""
    for secret in secrets:
        for form in {secret, json.dumps(secret)[1:-1], html.escape(secret), quote(secret, safe="")}:
            text = text.replace(form, MASK)
    return text
