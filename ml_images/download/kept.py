"""May a kept connection carry another request? Only if nothing is left on it of the answers before.

A host that sends more than its Content-Length leaves bytes behind that libcurl would take for the next answer: the
picture of one URL would be stored under another. What waits in the kernel is seen here before the next request is sent.
Over TLS the rest may wait in OpenSSL's buffer, where nobody can look. There it is noticed as noise when it comes
instead of an answer (Exchange.is_spoiled), unless it was made to look like one, by a host that answers for these URLs
anyway.
"""

import select
import socket


def local_name(file: int) -> tuple[str, int]:
    """A connection's own address and port."""
    sock = socket.socket(fileno=file)
    try:
        address, port = sock.getsockname()[:2]
        return address, port
    finally:
        sock.detach()  # the descriptor is libcurl's


def is_quiet(file: int) -> bool:
    """Does nothing wait to be read, not even the end?"""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return not poll.poll(0)
