"""Exact amounts: rounding steps of the venue, and Decimals in plain notation."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
SHARE_STEP = Decimal("0.000000001")
"""Alpaca takes and gives quantities to nine decimal places."""
COST_STEP = Decimal("0.0000000001")
"""Shares of a cost are cut to this, so that sums of money stay exact in 28 digits."""


def plain(value: Decimal) -> str:
    """A Decimal without exponent and trailing zeros: Decimal('1E+2') is '100', Decimal('1.50') is '1.5'."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def places(value: Decimal) -> int:
    """Decimal places that matter: 2 for Decimal('1.250')."""
    return len(plain(value).partition(".")[2])


def floor_shares(quantity: Decimal) -> Decimal:
    """The quantity cut to the smallest fraction of a share the venue trades."""
    return quantity.quantize(SHARE_STEP, ROUND_DOWN).normalize() + ZERO


def share_of_cost(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`cost * part / whole`, exact when everything goes (part == whole)."""
    return cost if part == whole else (cost * part / whole).quantize(COST_STEP, ROUND_HALF_EVEN)
