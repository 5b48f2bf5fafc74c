import subprocess
from pathlib import Path

import pytest

from ml_images.provenance import git_commit, installed_version, provenance


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


def test_half_installed_distributions_have_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "Name: Some-Thing\nVersion: 1.2\n"
    for place, content in (("later/Some_Thing-1.2", whole), ("first/some_thing-1.1", ""), ("first/half-3", "")):
        folder = tmp_path / f"{place}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(content)
    (tmp_path / "first" / "empty-4.dist-info").mkdir()
    for place in ("later", "first"):
        monkeypatch.syspath_prepend(tmp_path / place)
    assert installed_version("some-thing") == "1.2"
    assert [installed_version(name) for name in ("half", "empty", "nothing")] == [None, None, None]
