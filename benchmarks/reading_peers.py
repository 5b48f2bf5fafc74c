"""Environments of the peers whose dependencies clash with ours: each one's own packages before those of this project.

So torch, torchvision, Pillow and numpy are the very same for all, and what a peer asks for in another version it gets
for itself. Petastorm and torch are dependencies of this project.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

VERSIONS = {"webdataset": "1.0.2", "mosaicml-streaming": "0.13.0", "litdata": "0.2.76"}


def python_of(peer: str, folder: Path) -> str:
    """The Python of an environment below `folder` with the peer in it, made by pip where it is not there yet."""
    environment = folder / "environments" / peer
    python, installed = environment / "bin" / "python", environment / "installed"
    if not installed.exists():
        print(f"installing {peer} {VERSIONS[peer]} into {environment}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        variables = {"base": str(environment), "platbase": str(environment)}
        ours = Path(sysconfig.get_path("purelib", vars=variables)) / "ml_images.pth"
        ours.write_text(sysconfig.get_path("purelib") + "\n")
        command = [str(python), "-m", "pip", "install", "-q", f"{peer}=={VERSIONS[peer]}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        installed.write_text(VERSIONS[peer] + "\n")
    return str(python)
