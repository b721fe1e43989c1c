"""Resume: the checklist live, what would be lifted, the reason and the typed phrase; stages; a second approver."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

from athena.errors import AthenaError
from athena.widgets.controls import Told, button, choice, choices, column, html, put, row, text

if TYPE_CHECKING:
    from athena.widgets.desk import Plan
    from athena.widgets.room import ControlRoom
    from athena.widgets.snapshot import Snapshot
    from athena.widgets.source import Job

CHECK_SECONDS = 2.0  # the checklist takes the journal's write lock for a moment: not at every look
STAGE_SECONDS = 30.0


class ResumeView:
    """What stands, what must hold, and the three ways back: all at once, reduce-only, in stages."""

    title = "Resume"

    def __init__(self, room: ControlRoom) -> None:
        self.room, self.told = room, Told("resume")
        self.plan: Plan | None = None
        self._checked = (-1e9, "")
        self.where = choice([("everything", "")], "What to resume", "resume-where")
        self.way = choice([("all at once", ""), ("to reduce-only", "reduce")], "How to resume", "resume-way")
        self.lines = html(name="checklist")
        self.reason = text("why it is safe again", "Reason for resuming, recorded", "resume-reason", wide=True)
        self.typed = text("type the phrase", "The phrase shown above, typed", "resume-typed")
        self.go = button("Resume", "Lift the halts shown, if the checklist holds", "resume-go", self.told, self._resume,
                         style="success")  # fmt: skip
        self.staged = button(
            "Staged restart", "Bring trading back in four stages that fall back by themselves", "resume-staged",
            self.told, self._staged,
        )  # fmt: skip
        self.halt_stages = button(
            "Stop stages", "Leave the staged restart where it is", "resume-stages-stop", self.told, self._stop_stages
        )
        self.waiting = choice([("nothing waits", "")], "Requests waiting for a second operator", "requests")
        self.approve = button(
            "Approve", "Approve this request of another operator", "approve", self.told, self._approve
        )
        self.approvals = row(html("Waits for approval:"), self.waiting, self.approve)
        self._stages: Job | None = None
        self.box = column(
            row(self.where, self.way), self.lines, row(self.reason, self.typed, self.go),
            row(self.staged, self.halt_stages), self.approvals, self.told.widget,
        )  # fmt: skip
        for control in (self.where, self.way):
            control.observe(lambda _: self._look_again(), "value")

    def show(self, snapshot: Snapshot) -> None:
        """Halts, checklist and phrase as they are now."""
        halts = snapshot.status.guard.halts if snapshot.status else ()
        places = sorted({f"{h.scope.value}:{h.target}" for h in halts if h.target})
        choices(self.where, [("everything", ""), *((place.replace(":", " "), place) for place in places)])
        put(self.lines, self._words(snapshot))
        pending = [request for request in snapshot.lists.requests if request.pending]
        # Never a request that nobody chose: when one is gone, a second click must not approve the next.
        first = (f"choose one of {len(pending)}" if pending else "nothing waits", "")
        choices(self.waiting, [first, *((f"{r.what}, asked by {r.requested_by} ({r.id})", r.id) for r in pending)])
        self.approve.disabled = not pending
        self.go.disabled = self.plan is None
        self.halt_stages.disabled = self._stages is None or self._stages.state != "running"

    def _look_again(self) -> None:
        self._checked = (-1e9, "")
        self.room.redraw(self)

    def _words(self, snapshot: Snapshot) -> str:
        """The last answer; a newer one is asked for in a thread, since a locked journal keeps the checklist waiting."""
        at, words = self._checked
        if time.monotonic() - at > CHECK_SECONDS:

            def work(job: Job) -> None:
                try:
                    found = self._ask()
                except Exception as error:
                    self.plan, found = None, f"<p>{escape(f'{type(error).__name__}: {error}')}</p>"
                self._checked = (time.monotonic(), found)

            self.room.jobs.start("checklist", "", work, lambda job: None, again=True)
        return words

    def _ask(self) -> str:
        """The effect and the checklist as HTML, with the phrase to type; why not, where nothing can be resumed."""
        try:
            self.plan = self.room.desk.resume_plan(self.where.value or "", reduce_only=bool(self.way.value))
            checks = self.room.desk.checklist(self.where.value or "")
        except AthenaError as error:
            self.plan = None
            return f'<p>{escape(error.message)} <span class="soft">{escape(error.hint)}</span></p>'
        effect = "".join(f"<li>{escape(line)}</li>" for line in self.plan.effect)
        lines = "".join(
            f'<li class="tone-{"ok" if line.holds else "stop"}"><b>{"✓ holds" if line.holds else "✗ FAILS"}</b> '
            f"{escape(line.name)}: {escape(line.seen)}"
            + (f" → <kbd>{escape(line.next)}</kbd>" if line.next else "")
            + "</li>"
            for line in checks
        )
        return (
            f'<ul class="athena-lines" aria-label="Effect">{effect}</ul>'
            f'<ul class="athena-lines" aria-label="Checklist">{lines}</ul>'
            f"<p>To confirm, type <code>{escape(self.plan.phrase)}</code></p>"
        )

    def _resume(self) -> None:
        plan, where = self.plan, self.where.value or ""
        if plan is None:
            raise AthenaError("nothing is halted there.", "")
        reason, typed = self.reason.value, self.typed.value
        self.typed.value = ""

        def work(job: Job) -> None:
            self.room.desk.resume(plan, where, reason, typed, job.say)
            self._checked = (-1e9, "")

        self.room.start("resume", plan.title, self.told, work)

    def _staged(self) -> None:
        reason = self.reason.value

        def work(job: Job) -> None:
            full = self.room.desk.staged(reason, job.say, STAGE_SECONDS, job.stopping.is_set)
            if not full:
                raise AthenaError("it stands at an earlier stage.", "Find the cause, then start again.")

        self._stages = self.room.start("resume", "restart in stages", self.told, work)

    def _stop_stages(self) -> None:
        if self._stages is not None:
            self._stages.stopping.set()

    def _approve(self) -> None:
        request = self.waiting.value
        if not request:
            raise AthenaError("no request is chosen.", "Choose the one that you approve.")

        def work(job: Job) -> None:
            self.room.desk.approve(request, job.say)

        self.room.start(f"approve {request}", f"approval of {request}", self.told, work)
