"""A stream to storage that knows the SHA-256 of what went through it, so that nobody reads it again to find out."""

import hashlib
from typing import Any


class DigestedStream:
    """Passes bytes on to an open output stream; `close` closes that, too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Hexadecimal, of all bytes so far."""
        return self._digest.hexdigest()

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def write(self, data: bytes | memoryview) -> int:
        self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()
