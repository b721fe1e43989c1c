"""`athena post-market`: what is due after the close, one step after the other, each read back."""

from __future__ import annotations

import argparse

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import PlaybookError
from athena.ops.recovery_show import say, working
from athena.playbooks import after_close


def post_market(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do every step, or those named by --only; exit 8 when one failed, 10 when one waits for the close."""
    steps = after_close.run(settings, who=f"operator {settings.operator}", why=arguments.why, only=arguments.only)
    if arguments.dry_run:
        chosen = [step for step in after_close.STEPS.values() if not arguments.only or step.name in arguments.only]
        planned = [(step.name, step.effect) for step in chosen]
        told = {"dry_run": True, "steps": [step.name for step in chosen]}
        return say(arguments, Verdict.OK, "rehearsed: nothing was done", told, [("", ("step", "effect"), planned)])
    done = []
    with working(arguments, "the work after the close") as now:
        for one in steps:
            done.append(one)
            now(f"{one.step} {one.state.value.lower()}")
    failed = [one for one in done if one.state is after_close.State.FAILED]
    waits = [one for one in done if one.state is after_close.State.WAITS]
    words = f"{len(done) - len(failed) - len(waits)} of {len(done)} steps done"
    words += f"; {', '.join(one.step for one in waits)} waits" if waits else ""
    words += f"; {', '.join(one.step for one in failed)} FAILED" if failed else ""
    verdict = Verdict.STOP if failed else Verdict.ATTENTION if waits else Verdict.OK
    rows = [(one.step, one.state.value, one.told, one.then.replace("`", "")) for one in done]
    facts = {"steps": [one.to_dict() for one in done]}
    then = next((one.then for one in (*failed, *waits) if one.then), "").replace("`", "")
    code = say(arguments, verdict, words, facts, [("", ("step", "", "read back", "next"), rows)], then)
    return PlaybookError.exit_code if failed else code
