"""The operator's toolkit for a live US-equities trading system. `%load_ext athena` adds its magics to a notebook."""


def load_ipython_extension(shell: object) -> None:
    """What `%load_ext athena` calls; nothing of it is imported before."""
    from athena.widgets.magics import load

    load(shell)
