"""One measured figure beside its yardstick, both taken in the same run."""

from typing import NamedTuple


class Row(NamedTuple):
    """`ratio` is value over yardstick; empty where there is nothing to compare with. `bound` is what it should keep."""

    name: str
    value: float
    unit: str
    yardstick: str = ""
    yardstick_value: float | None = None
    ratio: float | None = None
    bound: str = ""
