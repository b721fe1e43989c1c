"""`make bench`: every figure beside its yardstick. `make bench ARGS="guard broker"` runs only those parts."""

import importlib
import pkgutil
import sys
import time

from rich.console import Console
from rich.table import Table

import tests.benchmarks as package

NOT_PARTS = {"__main__", "rows", "nautilus_check"}


def main(wanted):
    """Run the parts one after the other and print a table of each."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
    parts = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in NOT_PARTS]
    unknown = set(wanted) - set(parts)
    if unknown:
        console.print(f"no benchmark '{unknown.pop()}'; there are: {', '.join(parts)}")
        return 2
    for name in parts:
        if wanted and name not in wanted:
            continue
        module, began = importlib.import_module(f"tests.benchmarks.{name}"), time.monotonic()
        with console.status(f"measuring {name}"):
            rows = module.rows()
        table = Table(
            title=f"{name} ({time.monotonic() - began:.0f} s)", title_justify="left", box=None, padding=(0, 2)
        )
        for heading in ("what", "value", "unit", "beside", "its value", "ratio", "should keep"):
            table.add_column(heading, justify="right" if heading in {"value", "its value", "ratio"} else "left")
        for row in rows:
            beside = "" if row.yardstick_value is None else _figure(row.yardstick_value)
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            table.add_row(row.name, _figure(row.value), row.unit, row.yardstick, beside, ratio, row.bound)
        console.print(table)
        console.print()
    return 0


def _figure(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
