"""A simulator in a process of its own: `python simulator_process.py STATE ORDER_LOG SPEED PORT`; prints its url."""

import asyncio
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from athena.simulator.server import ServerOptions, serve
from athena.simulator.synthetic import SyntheticTape

SYMBOLS = ("AAPL", "MSFT", "JPM", "XOM", "JNJ", "WMT")

if __name__ == "__main__":
    state, log, speed, port = sys.argv[1:]
    options = ServerOptions(
        port=int(port),
        keys={"SIMULATOR": "simulator-secret", "OTHER": "other-secret"},
        opening_cash=Decimal(1_000_000),
        requests_per_minute=100_000,
        data_requests_per_minute=100_000,
        state_path=Path(state),
        order_log=Path(log),
    )
    asyncio.run(
        serve(
            SyntheticTape(3, SYMBOLS),
            start=datetime(2020, 3, 9, 13, 31, tzinfo=UTC),
            speed=float(speed),
            options=options,
            announce=lambda server: print(server.url, flush=True),
        )
    )
