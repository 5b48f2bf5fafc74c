"""The set-up scripts on machines that lack something, played by a PATH that lacks it."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> "Machine":
    return Machine(tmp_path)


class Machine:
    """A folder of links to this machine's commands, without some of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def without(self, *names: str) -> dict[str, str]:
        tools = self.folder / "tools"
        tools.mkdir()
        for place in reversed(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]):
            for command in Path(place).glob("*"):
                link = tools / command.name
                if command.name not in names:
                    link.unlink(missing_ok=True)
                    link.symlink_to(command)
        keep = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "SPARK_HOME")}
        return keep | {"PATH": str(tools), "XDG_CACHE_HOME": str(self.folder / "cache")}

    def venv(self) -> Path:
        """Something with a bin/python that is this Python."""
        folder = self.folder / "venv" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')
        (folder / "python").chmod(0o755)
        return folder.parent


def run(*command: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize(("tool", "package"), [("g++", "g++"), ("cmake", "cmake"), ("patch", "patch")])
def test_a_missing_build_tool_is_named_with_its_package(tool: str, package: str, machine: Machine) -> None:
    answer = run("setup/horovod.sh", "--check", sys.executable, env=machine.without(tool))
    assert answer.returncode == 1
    assert answer.stderr == f"setup: missing for the build of Horovod: {tool}; apt-get install -y {package}\n"


def test_a_machine_with_all_build_tools_passes(machine: Machine) -> None:
    answer = run("setup/horovod.sh", "--check", sys.executable, env=machine.without())
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_wrong_python_is_one_line(machine: Machine) -> None:
    answer = run("setup/venv.sh", env=machine.without() | {"PYTHON": "python2.7"})
    assert answer.returncode == 1
    assert answer.stderr.startswith("setup: no Python 3.11 or 3.12 is here")
    assert "apt-get install -y python3" in answer.stderr


def test_a_java_home_without_a_suitable_java_is_one_line(machine: Machine) -> None:
    answer = run("setup/java.sh", machine.venv(), env=machine.without() | {"JAVA_HOME": "/nonexistent"})
    assert answer.returncode == 1
    assert answer.stderr.startswith("setup: JAVA_HOME=/nonexistent holds no Java 17 or 21: unset JAVA_HOME, or apt-get")


@pytest.mark.timeout(120)
def test_without_a_system_java_the_runtime_from_pypi_runs_a_job(machine: Machine, tmp_path: Path) -> None:
    env, venv = machine.without("java"), machine.venv()
    assert run("bash", "-c", "command -v java", env=env).returncode == 1
    answer = run("setup/java.sh", venv, env=env)
    assert answer.returncode == 0, answer.stderr
    assert "using the runtime from PyPI" in answer.stderr
    assert run("setup/java.sh", venv, env=env).stderr == ""  # the second time there is nothing to do

    (tmp_path / "vocabulary.txt").write_text("n1\t-1\tthing\nn2\t0\tdog\n")
    (tmp_path / "list.txt").write_text("a\t1\nb\t0:0.5\nc\n")
    env["PATH"] = f"{venv / 'bin'}:{Path(sys.executable).parent}:{env['PATH']}"
    options = [f"lists={tmp_path}/list.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    job = run("spark-submit", "--master", "local[1]", "jobs/annotate.py", *options, "max_loss=0.5", env=env)
    assert job.returncode == 0, job.stderr
    assert pq.read_table(tmp_path / "out" / "labels")["classes"].to_pylist() == [[0, 1], [0]]


def test_a_system_java_makes_the_stand_in_unnecessary(machine: Machine) -> None:
    venv = machine.venv()
    if run("bash", "-c", "java -version 2>&1 | grep -qE '\"(17|21)'", env=machine.without()).returncode:
        pytest.skip("this machine has no Java 17 or 21 of its own")
    (venv / "bin" / "java").write_text("#!/bin/bash\n")
    (venv / "bin" / "java").chmod(0o755)
    env = dict(os.environ) | {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    env.pop("JAVA_HOME", None)
    assert run("setup/java.sh", venv, env=env).returncode == 0
    assert not (venv / "bin" / "java").exists()


def test_a_finished_environment_needs_nothing() -> None:
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("this checkout has no .venv of its own")
    run("setup/venv.sh", env=dict(os.environ))  # somebody may have changed what it is made of since
    before = (ROOT / ".venv" / ".ready").stat().st_mtime_ns
    answer = run("setup/venv.sh", env=dict(os.environ))
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert (ROOT / ".venv" / ".ready").stat().st_mtime_ns == before
