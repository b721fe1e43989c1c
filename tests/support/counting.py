"""A control room's reader that counts what it asks of the journal."""

from athena.widgets.reading import Reader


class Counting(Reader):
    """A reader that counts the statements its connection runs."""

    statements = 0

    def _open(self):
        journal = super()._open()
        if journal is not getattr(self, "_counted", None):
            self._counted = journal
            journal._connection.set_trace_callback(self._count)
        return journal

    def _count(self, _):
        self.statements += 1

    def cost(self):
        """Statements of one look, and what it found."""
        self.statements = 0
        found = self.read()
        return self.statements, found
