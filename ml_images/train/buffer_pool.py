"""Memory for the pictures of row groups, used again as soon as nobody looks at any of them."""

import mmap
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray


class BufferPool:
    """Buffers of `size` bytes, as many as are in use at the same time; any thread may ask.

    What Arrow builds is copied out at once (0.01 ms a picture of 60 KB), and it builds the next row group where this
    one was. Left there for as long as it was needed, 16 row groups of 4 MiB took 40 MiB more, which Arrow's allocator
    keeps for a second beside what is in use, and no less time. Buffers have pages of their own, which go back to the
    system with the pool.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: deque[NDArray[np.uint8]] = deque()

    def copied(self, content: memoryview) -> memoryview:
        """The same bytes; their buffer is free again when this view and all parts of it are gone."""
        if not 0 < content.nbytes <= self._size:
            return memoryview(bytes(content))
        try:
            buffer = self._free.pop()
        except IndexError:
            pages = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            buffer = np.frombuffer(pages, np.uint8)
        lent = buffer[: content.nbytes]
        lent[:] = np.frombuffer(content, np.uint8)
        weakref.finalize(lent, self._free.append, buffer)
        return memoryview(lent).toreadonly()
