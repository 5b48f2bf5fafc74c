"""Freed memory stays with the process, so that its pages are not zeroed anew."""

import json
import subprocess
import sys

# In a process of its own: it lasts. A round is what a step does: tensors live together, and are freed; 48 MB each,
# as glibc may learn to keep smaller ones by itself.
FAULTS = """
import json, resource
import torch
from ml_images.train.host_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        kept = [torch.zeros(12 << 20) for _ in range(8)]
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
faults()
given_back = faults()
keep_freed_memory()
faults()
print(json.dumps([given_back, faults()]))
"""


def test_pages_of_freed_tensors_are_used_again() -> None:
    told = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True, timeout=120)
    given_back, kept = json.loads(told.stdout)
    pages = 3 * 8 * (48 << 20) // 4096
    assert given_back >= pages // 512  # that few where pages are huge
    assert kept < given_back / 5
