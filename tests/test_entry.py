import subprocess

import pytest

from ml_images import entry
from ml_images.errors import InputError, StorageError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("lists 'x' does not exist"), 2, "job.py: lists 'x' does not exist\n"),
        (StorageError("no space left"), 2, "job.py: no space left\n"),
        (KeyboardInterrupt(), 130, "\njob.py: interrupted; the same command goes on from here\n"),
    ],
)
def test_expected_ends_are_one_line_and_a_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: object) -> int:
        raise error

    with pytest.raises(SystemExit) as left:
        entry.run(main, [], "job.py")
    assert left.value.code == code
    assert capsys.readouterr().err == text


def test_an_unexpected_error_keeps_its_story() -> None:
    def main(argv: object) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entry.run(main, [], "job.py")


def test_the_code_of_main_is_the_code_of_the_process() -> None:
    with pytest.raises(SystemExit) as left:
        entry.run(lambda argv: len(argv), ["a", "b", "c"], "job.py")
    assert left.value.code == entry.TOO_MUCH_LOST


@pytest.mark.parametrize("command", ["ml-images classify --help", "ml-images --help"])
def test_help_into_a_pipe_that_is_closed_ends_quietly(command: str) -> None:
    bash = ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"]
    done = subprocess.run(bash, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_another_broken_pipe_keeps_its_story() -> None:
    def main(argv: object) -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        entry.run(main, [], "job.py")
