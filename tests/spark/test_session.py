import subprocess
import sys
from typing import Any

from ml_images.spark import session

LISTEN = """
import socket, sys
from pathlib import Path
from ml_images.spark import session
with session.opened("test", {"spark.sql.shuffle.partitions": "3"}, light=True) as spark:
    conf = spark.sparkContext.getConf()
    partitions = spark.conf.get("spark.sql.shuffle.partitions")
    print(conf.get("spark.master"), conf.get("spark.driver.bindAddress"), partitions)
    inodes = set()
    print("executor's", conf.get("spark.executor.defaultJavaOptions"))
    runtime = spark.sparkContext._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()
    print("driver's", [option for option in runtime.getInputArguments() if "Tiered" in option])
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "java" in (process / "comm").read_text() and "SparkSubmit" in (process / "cmdline").read_text():
                inodes |= {str(link.readlink()) for link in (process / "fd").iterdir()}
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            pass
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                print("listens", words[1].split(":")[0])
"""


def test_a_running_session_is_used_and_left_running(spark: Any) -> None:
    with session.opened("other", {}) as opened:
        assert opened is spark
    assert spark.range(3).count() == 3


def test_spark_submit_decides_the_master_and_the_jvm_and_nothing_listens_beyond_loopback(
    commands: dict[str, str], tmp_path: Any
) -> None:
    (tmp_path / "listen.py").write_text(LISTEN)
    bare = {name: value for name, value in commands.items() if name != "SPARK_LOCAL_IP"}
    for command, master in ((["spark-submit", "--master", "local[1]"], "local[1]"), ([sys.executable], "local[*]")):
        answer = subprocess.run(
            [*command, str(tmp_path / "listen.py")], env=bare, capture_output=True, text=True, check=True, timeout=120
        )
        lines = answer.stdout.splitlines()
        assert f"{master} 127.0.0.1 3" in lines
        assert "executor's -XX:TieredStopAtLevel=1" in lines
        assert f"driver's {['-XX:TieredStopAtLevel=1'] if command == [sys.executable] else []}" in lines
        listening = {line.split()[1] for line in lines if line.startswith("listens")}
        assert listening, answer.stdout
        # 127.0.0.1 in the two ways in which /proc writes it.
        assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_master_that_is_none_is_one_line_after_what_spark_says(commands: dict[str, str], tmp_path: Any) -> None:
    (tmp_path / "vocabulary.txt").write_text("n1\t-1\tthing\n")
    (tmp_path / "list.txt").write_text("a\t0\n")
    words = [f"lists={tmp_path}/list.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    answer = subprocess.run(
        ["ml-images", "annotate", *words, "spark.spark.master=nonsense"],
        env=commands,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr.endswith("ml-images: Spark does not start with the master nonsense; what it said is above\n")
    assert "Traceback" not in answer.stderr
