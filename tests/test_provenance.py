import subprocess
from pathlib import Path

from ml_images.provenance import git_commit, provenance


def test_versions_name_what_computes() -> None:
    facts = provenance()
    assert {"python", "torch", "petastorm", "numpy", "pyspark"} <= facts["versions"].keys()
    assert facts["written_at"].endswith(" UTC")


def test_the_commit_is_the_one_that_is_checked_out(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert git_commit(tmp_path) == head.stdout.strip()
