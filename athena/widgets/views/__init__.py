"""The control room's views. Each binds controls to the desk's verbs and shows snapshots; none decides."""
