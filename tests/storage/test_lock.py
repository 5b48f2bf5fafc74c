import subprocess
import sys
from pathlib import Path

import pytest

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.lock import locked


def test_a_second_process_is_told_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    place = str(tmp_path / "images")
    hold = f"from ml_images.storage.lock import locked\nwith locked({place!r}): print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another run is writing"), locked(place):
        pass
    other.kill()
    other.communicate()
    with locked(place):
        tables.claim(place, "images")  # the lock itself is no foreign file
        tables.clear(place)
    assert (tmp_path / "images" / tables.LOCK).exists()
