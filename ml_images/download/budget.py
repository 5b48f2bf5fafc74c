"""How much memory bodies may take, and which transfers have to wait for it.

Everything counts: bodies under way, those not yet handed over, and those that the user still holds elsewhere (before
the decoder). Once all is used up, each transfer pauses after the piece that it is reading: PIECE bytes at most. Bodies
that came packed count as they came, and are unpacked one by one as long as there is room. As room comes back transfers
go on, the oldest first. Where none can come back by itself, as all of it is held by bodies that are not complete, the
oldest goes on to its end. So there are never more bytes than

    most + one body + one piece for each transfer
"""

import math
from typing import Protocol

PIECE = 128 * 1024  # bytes that a transfer may read at a time


class Transfer(Protocol):
    @property
    def number(self) -> int:
        """Smaller for those that began earlier."""

    def go_on(self) -> None:
        """Read again, after a pause."""


class Budget:
    """The bodies of one transport may take `most` bytes, together with those `elsewhere`."""

    def __init__(self) -> None:
        self.most = math.inf
        self.elsewhere = 0
        self.taken = 0
        self._paused: set[Transfer] = set()
        self._first: Transfer | None = None  # goes on to its end

    @property
    def room(self) -> float:
        return self.most - self.taken - self.elsewhere

    def must_pause(self, transfer: Transfer) -> bool:
        """Is this one, which has just taken some bytes, to wait until it is told to go on?"""
        if self.room >= 0 or transfer is self._first:
            return False
        self._paused.add(transfer)
        return True

    def leave(self, transfer: Transfer) -> None:
        """It is over."""
        self._paused.discard(transfer)
        if self._first is transfer:
            self._first = None

    def let_go_on(self, is_handing_over: bool) -> None:
        """Have those go on that may. `is_handing_over`: complete bodies are about to leave."""
        if not self._paused:
            return
        waiting = sorted(self._paused, key=lambda transfer: transfer.number)
        room = self.room
        if room <= 0 and self._first is None and not self.elsewhere and not is_handing_over:
            self._first, room = waiting[0], PIECE
        for transfer in waiting[: max(0, math.ceil(room / PIECE)) if room < math.inf else None]:
            self._paused.remove(transfer)
            transfer.go_on()
