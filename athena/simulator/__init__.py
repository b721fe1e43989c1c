"""An Alpaca-compatible venue on loopback: a market (the tape), a matching exchange, faults, and Alpaca's wire."""
