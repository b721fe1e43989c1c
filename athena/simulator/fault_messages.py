"""What message faults make of a stream's message."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from athena.simulator.fault_model import Fault, Kind
from athena.simulator.faults import Harmed

DELAY_SECONDS = 1.0
REORDER_SECONDS = 0.2  # time enough for what is behind it to overtake it
UNKNOWN_STATUS = "held_for_compliance"
UNKNOWN_EVENT = "order_frozen"
UNKNOWN_TYPE = "zz"


def harmed(fault: Fault, stream: str, message: Any) -> Iterable[Any]:
    """What leaves in place of `message`, which another fault may have wrapped in Harmed already."""
    harm = message if isinstance(message, Harmed) else Harmed(message)
    match fault.kind:
        case Kind.MESSAGE_DROP:
            return ()
        case Kind.MESSAGE_DUPLICATE:
            return (message, message)
        case Kind.MESSAGE_DELAY:
            seconds = DELAY_SECONDS if fault.seconds is None else fault.seconds
            return (replace(harm, late_seconds=harm.late_seconds + seconds),)
        case Kind.MESSAGE_REORDER:
            seconds = REORDER_SECONDS if fault.seconds is None else fault.seconds
            return (replace(harm, late_seconds=harm.late_seconds + seconds, overtaken=True),)
        case Kind.MESSAGE_MALFORMED:
            return (replace(harm, broken=True),)
        case _:
            spoilt = replace(harm, message=_unknown(fault, stream, harm.message))
            return (spoilt if isinstance(message, Harmed) else spoilt.message,)


def _unknown(fault: Fault, stream: str, message: Any) -> Any:
    """The message with one word in it that no client can know."""
    spoilt = deepcopy(message)
    if stream == "market_data":
        spoilt["T"] = UNKNOWN_TYPE
    elif fault.word == "event":
        spoilt["data"]["event"] = UNKNOWN_EVENT
    else:
        spoilt["data"]["order"]["status"] = UNKNOWN_STATUS
    return spoilt
