"""Playbooks: notebooks that answer one operator's question, run by hand or headless, archived by date."""
