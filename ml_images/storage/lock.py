"""One writer at a time: two runs into the same table would fetch and publish everything twice."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_images.errors import InputError
from ml_images.storage.tables import LOCK, storage_errors


@contextmanager
def locked(location: str) -> Iterator[None]:
    """Hold the table while the block runs; InputError while another process does.

    The kernel lets go when the process ends, however it ends, so a crash leaves nothing behind that bars the next run.
    Object stores have no such lock: there it is on the user.
    """
    if "://" in location:
        yield
        return
    with storage_errors(location):
        Path(location).mkdir(parents=True, exist_ok=True)
        file = (Path(location) / LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another run is writing '{location}': wait until it has ended, or give another output"
            ) from error
        yield
