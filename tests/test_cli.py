import subprocess

import pytest

from ml_images import cli


def run(commands: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ml-images", *argv], env=commands, capture_output=True, text=True, check=False)


def test_help_lists_every_command(commands: dict[str, str]) -> None:
    answer = run(commands, "--help")
    assert answer.returncode == 0
    for command in cli.COMMANDS:
        assert command in answer.stdout


def test_unknown_command_is_one_line_and_2(commands: dict[str, str]) -> None:
    answer = run(commands, "downlaod")
    assert answer.returncode == 2
    assert answer.stderr.startswith("ml-images: unknown command 'downlaod'; accepted: annotate, cooccur, ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("job", cli.JOBS)
def test_every_job_shows_examples_and_options(job: str, commands: dict[str, str]) -> None:
    answer = run(commands, job, "--help")
    assert answer.returncode == 0, answer.stderr
    assert "Examples:" in answer.stdout
    assert f"spark-submit jobs/{job}.py" in answer.stdout
    assert "output" in answer.stdout
