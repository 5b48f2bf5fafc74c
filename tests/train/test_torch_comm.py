"""Each engine with real processes: horovodrun and torchrun have to do the same, and the same as one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import comm_probe
import pytest
import torch

from ml_images.train.comm import LocalComm

BIN = Path(sys.executable).parent
ENGINES = {
    "horovodrun": [str(BIN / "horovodrun"), "--gloo", "-np", "2", "-H", "localhost:2", sys.executable],
    "torchrun": [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2"],
}
PROBE = str(Path(comm_probe.__file__))


@pytest.fixture(scope="module")
def expected() -> list[float]:
    """The weights after the probe's steps in one process."""
    return comm_probe.weights(comm_probe.trained(LocalComm()))


def answers_of(engine: str, folder: Path) -> list[dict[str, Any]]:
    """What two ranks of `engine` tell; in a network of their own where the kernel allows it."""
    private = ["unshare", "-rn", "bash", "-c", 'ip link set lo up; exec "$@"', "private"]
    allowed = shutil.which("unshare") and subprocess.run([*private, "true"], check=False).returncode == 0
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment["GLOO_SOCKET_IFNAME"] = "lo"
    command = [*(private if allowed else []), *ENGINES[engine], PROBE, str(folder)]
    run = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("engine", [pytest.param("horovodrun", marks=pytest.mark.horovod), "torchrun"])
def test_ranks_agree_with_each_other_and_with_one_process(engine: str, expected: list[float], tmp_path: Path) -> None:
    told = answers_of(engine, tmp_path)
    assert [answer["size"] for answer in told] == [[2, 0, 2], [2, 1, 2]]
    for answer in told:
        assert answer["sum"] == [1, 2]
        assert answer["sum of columns"] == [[0, 6], [2, 8], [4, 10]]
        assert answer["gather"] == [[1, 1], [1, 1]]
        assert answer["gather of nothing"] == [0, 3]
        assert answer["json"] == {"from": 0, "text": "é" * 9}
        assert answer["broadcast"] == [[0, 0], 0, [[0, 3], [1, 4], [2, 5]]]
        assert answer["differ"] == [1]
        for name, tolerance in [("none", 1e-12), ("channels_last", 1e-12), ("fp16", 2e-3), ("bf16", 2e-2)]:
            if name in answer["weights"]:
                found = torch.tensor(answer["weights"][name], dtype=torch.float64)
                assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=tolerance), name
        distinct = {json.dumps(found) for found in answer["weights"].values()}
        assert len(distinct) >= len(answer["weights"]) - 1  # only the order of axes may leave every bit as it is
        if engine == "horovodrun":
            assert answer["refused"].startswith("Horovod 0.28 cannot send bf16: compression must be none or fp16")
        else:
            assert answer["refused"] is None
    assert told[0]["weights"] == told[1]["weights"]
