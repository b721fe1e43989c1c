"""A report as an e-mail: verdict, tables and static images. No script, nothing fetched, colours without variables."""

from __future__ import annotations

import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from athena.errors import PlaybookError
from athena.playbooks import chromium, pages

WIDTH = 640  # pixels, of an image as it is read
_FIGURE = re.compile(
    r'<div class="athena"><div class="figure" data-figure="(\d+)"[^>]*></div></div>'
    r"\s*<script\b[^>]*>.*?</script>",
    re.DOTALL,
)
_ACTIVE = re.compile(r"<(style|script)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)


def message(record: dict[str, Any], body: str, folder: Path) -> EmailMessage:
    """The report as a message without addresses, ready to be sent or saved as `.eml`.

    record: the published result, body: the page's body, secrets struck out. Where Chromium is not installed the
    figures are left out and the message says so; the tables hold the same numbers.
    """
    note = ""
    drawn: dict[int, bytes] = {}
    if record["figures"]:
        try:
            drawn = _drawn(body, folder)
        except PlaybookError as error:
            note = f"Figures are left out: {error.message}"
    mail = EmailMessage()
    day, verdict = record["trading_date"], record["verdict"]
    failed = "" if record["run"]["succeeded"] else " (failed)"
    mail["Subject"] = f"{verdict}{failed}: {record['playbook'].replace('_', ' ')} {day}"
    changed = (record.get("changes") or {}).get("words", "")
    lines = [f"{verdict}{failed}. {record['reason']}", f"Next: {record['action']}"]
    lines += [f"Since the previous run: {changed}"] if changed else []
    mail.set_content("\n\n".join(lines) + "\n")
    static = _FIGURE.sub(lambda found: _image(int(found[1]), drawn), body)
    mail.add_alternative(pages.mail(record, _ACTIVE.sub("", static), note), subtype="html")
    part = mail.get_payload()[1]  # type: ignore[index]
    for number, png in sorted(drawn.items()):
        part.add_related(png, "image", "png", cid=f"<figure-{number}>", filename=f"figure-{number}.png")  # type: ignore[union-attr]
    return mail


def _image(number: int, drawn: dict[int, bytes]) -> str:
    if number not in drawn:
        return ""
    return f'<p><img src="cid:figure-{number}" width="{WIDTH}" alt="Figure {number}; the tables hold its numbers"></p>'


def _drawn(body: str, folder: Path) -> dict[int, bytes]:
    figures = "".join(found[0] for found in _FIGURE.finditer(body))
    page = folder / "figures.html"
    page.write_text(pages.figures(figures, WIDTH), encoding="utf-8")
    return chromium.images(page)
