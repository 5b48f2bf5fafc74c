"""How often an image may be shown in an epoch: what writes factors and what reads them agree on it here."""

MOST_COPIES = 0xFFFF - 1  # readers count them in 16 bits, rounding up
