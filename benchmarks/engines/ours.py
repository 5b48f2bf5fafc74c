"""A job of ours in a session that was started, and timed, before it.

    python benchmarks/engines/ours.py MASTER JOB [key=value ...]       e.g. local[2] annotate lists=... output=...

Start is the imports, as for the peers: those of the job, the Spark session, and an empty job whose tasks start the
Python workers, which import the job's engine and what it imports late (numba most of itself at the first compiled call,
pyarrow pandas at the first list). Loading each compiled loop from the cache and the report are part of the work.
"""

import importlib
import sys
from collections.abc import Iterable
from functools import partial

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
    return batches


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
