"""A job of ours in a session that was started, and timed, before it.

    python benchmarks/engines/ours.py MASTER JOB [key=value ...]       e.g. local[2] annotate lists=... output=...

Start is the imports, as for the peers: those of the job, the Spark session, and an empty job whose tasks start the
Python workers, which import the job's engine and what it imports late (numba most of itself at the first compiled call,
pyarrow pandas at the first list) and load the machine code of its loops, as importing a peer loads theirs. What the
driver loads late, and the report, are part of the work.
"""

import importlib
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from clock import Clock
from pyspark.sql import SparkSession

from ml_images.spark import session, work

_WORKER = pa.schema([pa.field("number", pa.int64())])


def main(master: str, job: str, arguments: list[str]) -> int:
    clock = Clock()
    module = importlib.import_module(f"ml_images.jobs.{job}")
    options = {"spark.master": master, "spark.ui.enabled": "false"}
    if not master.startswith("local"):  # a cluster on this machine: cluster/standalone.sh gives a worker 1 GB
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        options |= {"spark.executor.memory": "600m", "spark.executor.cores": "1"}
    with session.opened("benchmark", options, light=True) as spark:  # as these jobs themselves
        _start_workers(spark, f"ml_images.spark.{job}")
        clock.ready()
        code = int(module.main(arguments))
        clock.done()
    return code


def _start_workers(spark: SparkSession, engine: str) -> None:
    rows = [{"number": number} for number in range(spark.sparkContext.defaultParallelism)]
    work.run(work.units(spark, rows, _WORKER), partial(_import, engine=engine), _WORKER, "start")


def _import(batches: Iterable[pa.RecordBatch], *, engine: str) -> Iterable[pa.RecordBatch]:
    importlib.import_module(engine)
    from numba.core.registry import cpu_target  # here, as what a task's function names is sent along with it

    cpu_target.target_context.refresh()
    for loop in _loops():
        for signature, processor, _ in loop._cache._cache_file._load_index():
            if processor == loop.targetctx.codegen().magic_tuple():
                loop.compile(signature)  # which looks into the cache first
    return batches


def _loops() -> Iterator[Any]:
    """The compiled functions of all our modules that are imported, each once."""
    from numba.core.dispatcher import Dispatcher

    modules = [module for name, module in list(sys.modules.items()) if name.startswith("ml_images.")]
    found = {id(value): value for module in modules for value in vars(module).values()}
    return (value for value in found.values() if isinstance(value, Dispatcher))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
