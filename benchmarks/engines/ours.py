"""A job of ours in a session that was started, and timed, before it.

    python benchmarks/engines/ours.py MASTER JOB [key=value ...]       e.g. local[2] annotate lists=... output=...

Start is Spark's: the session, and an empty job that starts its Python workers. What these import, the first call of
each compiled loop and the report are part of the work.
"""

import importlib
import sys

from clock import Clock

from ml_images.spark import session


def main(master: str, job: str, arguments: list[str]) -> int:
    clock = Clock()
    options = {"spark.master": master, "spark.ui.enabled": "false"}
    if not master.startswith("local"):  # a cluster on this machine: cluster/standalone.sh gives a worker 1 GB
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        options |= {"spark.executor.memory": "600m", "spark.executor.cores": "1"}
    with session.opened("benchmark", options) as spark:
        tasks = spark.sparkContext.defaultParallelism
        spark.sparkContext.parallelize(range(tasks), tasks).map(str).collect()
        module = importlib.import_module(f"ml_images.jobs.{job}")
        clock.ready()
        code = int(module.main(arguments))
        clock.done()
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
