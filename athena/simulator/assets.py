"""What the venue lists: Alpaca's facts about each symbol, and the figures the synthetic tape makes its market from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import NAMESPACE_DNS, uuid5

_NAMESPACE = uuid5(NAMESPACE_DNS, "assets.athena.invalid")


@dataclass(frozen=True, slots=True)
class Asset:
    """One listing as `GET /v2/assets` describes it. `id` is a UUID that depends on the symbol alone.

    `average_volume` (shares a day), `anchor` and `scale` are the synthetic tape's: its closes are those of `anchor`
    in the anchor file times `scale`; `anchor` is empty for a symbol without a market.
    """

    symbol: str
    name: str
    exchange: str = "NYSE"
    status: str = "active"
    tradable: bool = True
    marginable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    maintenance_margin_percent: Decimal = Decimal(30)
    average_volume: int = 5_000_000
    anchor: str = ""
    scale: Decimal = Decimal(1)

    @property
    def id(self) -> str:
        return str(uuid5(_NAMESPACE, self.symbol))


def unlisted(symbol: str) -> Asset:
    """Plain facts for a symbol Athena knows nothing of: active, shortable, fractionable (a user's own files)."""
    return Asset(symbol, symbol)


def _large_cap(symbol: str, name: str, millions: float, exchange: str = "NYSE") -> Asset:
    return Asset(symbol, name, exchange, average_volume=round(millions * 1_000_000), anchor=symbol)


# Volumes are rough daily averages of the first half of 2020, in today's shares where splits adjust the closes.
_LISTED = (
    _large_cap("AAPL", "Apple Inc. Common Stock", 150, "NASDAQ"),
    _large_cap("AMD", "Advanced Micro Devices, Inc. Common Stock", 60, "NASDAQ"),
    _large_cap("BAC", "Bank of America Corporation Common Stock", 60),
    _large_cap("BBY", "Best Buy Co., Inc. Common Stock", 3.5),
    _large_cap("CVX", "Chevron Corporation Common Stock", 10),
    _large_cap("GE", "General Electric Company Common Stock", 12),
    _large_cap("HD", "The Home Depot, Inc. Common Stock", 5),
    _large_cap("JNJ", "Johnson & Johnson Common Stock", 8),
    _large_cap("JPM", "JPMorgan Chase & Co. Common Stock", 17),
    _large_cap("KO", "The Coca-Cola Company Common Stock", 16),
    _large_cap("LLY", "Eli Lilly and Company Common Stock", 4),
    _large_cap("MRK", "Merck & Co., Inc. Common Stock", 11),
    _large_cap("MSFT", "Microsoft Corporation Common Stock", 40, "NASDAQ"),
    _large_cap("PEP", "PepsiCo, Inc. Common Stock", 6, "NASDAQ"),
    _large_cap("PFE", "Pfizer Inc. Common Stock", 28),
    _large_cap("PG", "The Procter & Gamble Company Common Stock", 9),
    _large_cap("RRC", "Range Resources Corporation Common Stock", 12),
    _large_cap("UNH", "UnitedHealth Group Incorporated Common Stock", 4.5),
    _large_cap("WMT", "Walmart Inc. Common Stock", 8),
    _large_cap("XOM", "Exxon Mobil Corporation Common Stock", 25),
    # Invented, so that every refusal of a venue can be met.
    Asset(
        "ZZHTB",
        "Athena Hard To Borrow Corp. (invented)",
        "AMEX",
        shortable=False,
        easy_to_borrow=False,
        fractionable=False,
        maintenance_margin_percent=Decimal(100),
        average_volume=400_000,
        anchor="RRC",
        scale=Decimal(4),
    ),
    Asset(
        "ZZDEL",
        "Athena Delisted Inc. (invented)",
        status="inactive",
        tradable=False,
        shortable=False,
        fractionable=False,
    ),
    Asset("ZZNTR", "Athena Not Tradable Ltd. (invented)", "OTC", tradable=False, shortable=False, fractionable=False),
)
ASSETS = {asset.symbol: asset for asset in _LISTED}
