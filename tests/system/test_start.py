"""What 'ready' means: an operator who resumes the moment the engine says so is not sent away."""

from tests.engine.processes import desk, wait_for


def test_a_resume_right_after_ready_passes_the_checklist(tmp_path):
    """Started in mid-session three times, each time the first resume succeeds without an override and orders flow."""
    with desk(tmp_path) as live:
        for _ in range(3):
            before = len(live.posts())
            engine = live.start_ready()
            made = live.guard().resume(reason="the moment it was ready")
            assert made.cleared
            assert not made.override
            wait_for(lambda seen=before: len(live.posts()) > seen, "an order")
            engine.terminate()
            assert engine.wait(20) == 0
