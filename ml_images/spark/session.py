"""Opens the Spark session of a job: on loopback alone when it is local, with the workers on the driver's own Python."""

import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ml_images.errors import InputError

_FIRST_COMPILER = "-XX:TieredStopAtLevel=1"  # of HotSpot's two


@contextmanager
def opened(
    app: str, options: Mapping[str, str], *, light: bool = False, task_failures: int = 1
) -> Iterator[SparkSession]:
    """The running session (notebook, test) if there is one, otherwise a new one that ends with the block.

    light: the JVMs of the job do nothing but hand out tasks, so that compiling their code well does not pay: a local
    session then takes 4 s of CPU to start instead of 8. A JVM that spark-submit started before us stays as it is.
    task_failures: how often a task may fail in a local session before the job does (elsewhere spark.task.maxFailures
    says so, 4 by default): more than once where a worker may die of what strangers send.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    try:
        spark = _start(app, options, light, task_failures)
    except (PySparkException, Py4JError) as error:
        master = options.get("spark.master", "that spark-submit or spark-defaults.conf names")
        raise InputError(f"Spark does not start with the master {master}; what it said is above") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _leave)
    try:
        yield spark
    finally:
        spark.stop()


def _start(app: str, options: Mapping[str, str], light: bool, task_failures: int) -> SparkSession:
    # Without it workers run whatever `python3` is first on PATH, which often lacks pyarrow.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if light:  # options of the JVM in a SparkConf would replace those of spark-defaults.conf; these come before them
        os.environ.setdefault("SPARK_SUBMIT_OPTS", _FIRST_COMPILER)
    # A SparkConf made before the JVM is there knows nothing of spark-submit's --master and of spark-defaults.conf.
    SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll(list(options.items())))
    conf = SparkConf().setAppName(f"ml-images {app}").setAll(list(options.items()))
    master = conf.get("spark.master", "local[*]")
    local = re.fullmatch(r"local\[([0-9]+|\*)\]", master)
    if local and task_failures > 1:  # spark.task.maxFailures means nothing there
        conf.set("spark.master", f"local[{local[1]},{task_failures}]")
    if master.startswith("local"):  # Spark's own defaults listen on all addresses
        conf.setIfMissing("spark.driver.host", "127.0.0.1")
        conf.setIfMissing("spark.driver.bindAddress", "127.0.0.1")
        conf.setIfMissing("spark.sql.shuffle.partitions", "16")  # 200 tasks of 10 ms each are most of a small job
        # A job to look at more than 32 files takes longer than to look at them.
        conf.setIfMissing("spark.sql.sources.parallelPartitionDiscovery.threshold", "10000")
        if "SPARK_LOCAL_IP" not in os.environ:
            conf.setIfMissing("spark.ui.enabled", "false")
    else:
        # As many jobs of looking at files, with a task each (up to 10,000), take two seconds of a small download.
        conf.setIfMissing("spark.sql.sources.parallelPartitionDiscovery.parallelism", "32")
        # Spark would rather wait three seconds for the node that holds a shuffle's (few) bytes than ask another one.
        conf.setIfMissing("spark.shuffle.reduceLocality.enabled", "false")
    if "spark.ui.showConsoleProgress" not in options:
        conf.set("spark.ui.showConsoleProgress", "false")  # we draw our own line
    if light:
        conf.setIfMissing("spark.executor.defaultJavaOptions", _FIRST_COMPILER)
    conf.setIfMissing("spark.log.level", "ERROR")  # what matters comes back as an exception
    conf.setIfMissing("spark.sql.session.timeZone", "UTC")
    spark = SparkSession.builder.config(conf=conf).getOrCreate()
    gc.collect()
    gc.freeze()  # what modules hold stays: passing over it saves the driver of a job of two seconds 0.13 s
    return spark


def _leave(number: int, frame: object) -> None:
    """End at once on Ctrl-C, as a kill would, which every table survives.

    The JVM may have got the signal, too, and a KeyboardInterrupt in the middle of a call to it ends in pages of
    tracebacks. It ends when this process does, and gives executors back.
    """
    print("\ninterrupted; the same command goes on from here", file=sys.stderr, flush=True)
    os._exit(128 + number)
