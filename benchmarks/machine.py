"""On what the numbers were measured."""

import os
import platform
from importlib import metadata
from pathlib import Path

from ml_images.provenance import git_commit

_PACKAGES = ("ml-images", "pyspark", "pyarrow", "numpy", "numba", "duckdb", "polars", "scipy")


def describe_machine(num_cores: int) -> dict[str, str]:
    """Processor, cores in use, memory, system, load before the start, versions and commit."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    versions = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    return {
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {num_cores} in use",
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
        "load before the start": f"{os.getloadavg()[0]:.2f}",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "commit": git_commit(Path(__file__).parents[1]) or "unknown",
    }
