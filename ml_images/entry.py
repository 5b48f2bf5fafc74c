"""What every entry point does around its main: logging, exit codes, one line for a user's mistake.

Exit codes: 0 done; 1 failed; 2 the input is wrong, or the output cannot be written where it was asked for (no space,
read-only); 3 done, but more was lost than max_loss allows; 130 interrupted; 141 nobody reads what is printed any more.
"""

import logging
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ml_images.errors import InputError, StorageError

DONE, FAILED, WRONG_INPUT, TOO_MUCH_LOST, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141


def run(
    main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, program: str | None = None
) -> NoReturn:
    """Call `main` with the command line and leave the process with its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # what goes wrong there comes as an exception, too
    name = program or Path(sys.argv[0]).name
    try:
        code = main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except (InputError, StorageError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = WRONG_INPUT
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; the same command goes on from here", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        if not _is_unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        code = UNREAD
    raise SystemExit(code)


def _is_unread() -> bool:
    """Is standard output a pipe that its reader has left, as `| head` does when it has seen enough?"""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def check_max_loss(share: float) -> None:
    """The rule of every job's option max_loss."""
    if not 0 <= share <= 1:
        raise ValueError(f"max_loss is a share from 0 to 1, got {share}")
