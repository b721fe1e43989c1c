"""One module a playbook: it reads the journal, the guard and the broker, and hands what it read to an assessment."""
