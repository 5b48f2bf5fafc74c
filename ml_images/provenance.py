"""Where numbers came from: versions, commit, machine."""

import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "ml-images",
    "pyspark",
    "pyarrow",
    "numpy",
    "numba",
    "pillow",
    "requests",
    "torch",
    "torchvision",
    "petastorm",
    "horovod",
)


def provenance() -> dict[str, Any]:
    """The time, versions of what is installed, the platform, and the git commit where the code runs from a checkout."""
    return {
        "written_at": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {"python": platform.python_version(), **_installed()},
        "commit": git_commit(Path(__file__).parents[1]),
        "platform": platform.platform(),
    }


def _installed() -> dict[str, str]:
    """Distributions that this Python has; a Spark executor lacks torch, say."""
    return {name: version for name in _PACKAGES if (version := installed_version(name))}


def installed_version(name: str) -> str | None:
    """The version of a distribution, None where there is none of this name.

    Asked for by name: to read the metadata of all of some 200 distributions takes a quarter of a second. And a line of
    it is looked for: `version` parses it all, with the README in it (12 ms for those of _PACKAGES).
    """
    for found in metadata.distributions(name=name):
        line = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
        if line:  # a damaged or half-installed distribution has none
            return line[1]
    return None


def git_commit(root: Path) -> str | None:
    """The commit that is checked out in `root`; None where that is no checkout, or without git."""
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return answer.stdout.strip() or None
