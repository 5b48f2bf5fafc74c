import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from ml_images.errors import InputError, StorageError
from ml_images.sample.command import main
from ml_images.sample.hierarchy import vocabulary_text
from ml_images.sample.server import serve

LISTS = ["--rows", "10", "--output", "out", "--vocabulary", "vocabulary.txt"]
RUN = "import sys; from ml_images.sample.command import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def started(args: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the one line that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_serve_takes_a_plain_folder_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "my dog.jpg").write_bytes(b"woof")
    with started(["serve", str(tmp_path), "--port", "0"]) as (process, line):
        url = line.split(" at ")[1].split()[0]
        assert requests.get(url + "my%20dog.jpg", timeout=5).content == b"woof"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_what_write_made_is_served_where_its_lists_expect_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(tmp_path) as server:  # a port that is free a moment later
        port = server.server_port
    assert main(["write", str(tmp_path / "w"), "--images", "64", "--seed", "5", "--port", str(port)]) == 0
    assert f"ml-images sample serve {tmp_path / 'w'}" in capsys.readouterr().out
    expected = json.loads((tmp_path / "w" / "expected.json").read_bytes())
    assert (expected["seed"], expected["images"]) == (5, 64)
    names = {path.relative_to(tmp_path / "w").parts[0] for path in (tmp_path / "w").rglob("*")}
    assert names == {
        *("vocabulary.txt", "vocabulary_3_columns.txt", "lists", "pictures", "expected.json", "README.txt")
    }
    with started(["serve", str(tmp_path / "w")]):
        key = next(key for key, value in expected["keys"].items() if "://" in key and value["outcome"] == "ok")
        assert f":{port}/" in key
        assert requests.get(key, timeout=5).status_code == 200


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        port = server.server_port
        with pytest.raises(InputError, match=f"cannot serve on port {port}: Address already in use; --port 0"):
            main(["serve", str(tmp_path), "--port", str(port)])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["serve", "nowhere"], "nowhere is not there; give a folder of pictures"),
        (["serve", "file.txt"], "file.txt is a file; give a folder of pictures"),
        (["serve", "."], "expected.json is not what `ml-images sample write` makes"),
        (["serve", ".", "--port", "70000"], "argument --port: must be a whole number from 0 to 65535, got '70000'"),
        (["write", "w", "--port", "0"], "argument --port: must be a whole number from 1 to 65535, got '0'"),
        (["write", "w", "--images", "10"], "argument --images: must be a whole number from 64 to 1000000, got '10'"),
        (["write", "w", "--seed", "-1"], "argument --seed: "),
        (["write", "w", "--sed", "1"], "unrecognized arguments: --sed 1"),
        (["write", "file.txt"], "file.txt is a file; give a folder to write the sample world into"),
        (["lists", *LISTS, "--rows", "0"], "argument --rows: must be a whole number from 1 to 1000000000, got '0'"),
        (["lists", *LISTS, "--malformed", "0.6"], "argument --malformed: must be a share from 0 to 0.5, got '0.6'"),
        (["lists", *LISTS, "--malformed", "nan"], "argument --malformed: must be a share from 0 to 0.5, got 'nan'"),
        (["lists", "--rows", "1", "--output", "o"], "the following arguments are required: --vocabulary"),
        (["lists", *LISTS, "--class-counts", "expected.json"], "expected.json:1: expected the images of a class"),
        (["lists", *LISTS[:-1], "nowhere"], "vocabulary 'nowhere' does not exist"),
        (["lists", *LISTS, "--output", "."], "holds expected_not.json, which is no list of ours"),
        (["paint"], "invalid choice: 'paint'"),
        ([], "the following arguments are required: write|serve|lists"),
    ],
)
def test_wrong_input_is_one_line(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("text")
    Path("expected.json").write_text("[1]")
    Path("expected_not.json").write_text("{}")
    Path("vocabulary.txt").write_text(vocabulary_text())
    with pytest.raises(InputError) as raised:
        main(args)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match=r"cannot write .*file/below: Not a directory"):
        main(["write", str(tmp_path / "file" / "below"), "--images", "64"])


@pytest.mark.parametrize("action", [[], ["write"], ["serve"], ["lists"]])
def test_help_says_what_there_is(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*action, "--help"])
    assert raised.value.code == 0
    assert "ml-images sample serve ~/photos --port 0" in capsys.readouterr().out


def test_lists_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vocabulary.txt").write_text(vocabulary_text())
    assert main(["lists", *LISTS, "--rows", "2000", "--malformed", "0.1"]) == 0
    first, *lists, last = capsys.readouterr().out.splitlines()
    expected = json.loads(Path("out/expected.json").read_bytes())
    assert first.startswith("out: 2,000 lines, 0.1 MB; ")
    assert f"{expected['accepted']:,} rows with {expected['labels']:,} tags of" in first
    assert [line.split()[0] for line in lists] == sorted(expected["lists"])
    assert last == "annotate them: ml-images annotate 'lists=[out/*.txt]' vocabulary=vocabulary.txt output=annotated"


def test_the_command_that_lists_prints_names_a_format_that_cannot_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vocabulary.txt").write_text("thing animal\nanimal dog\nanimal cat\nthing car\n")
    assert main(["lists", *LISTS, "--rows", "50", "--vocabulary-format", "parent_child"]) == 0
    assert "vocabulary=vocabulary.txt vocabulary_format=parent_child output" in capsys.readouterr().out


def test_lists_follow_the_class_counts_that_a_file_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vocabulary.txt").write_text(vocabulary_text())
    Path("counts.txt").write_text("900\n300\n100\n")
    assert main(["lists", *LISTS, "--rows", "500", "--class-counts", "counts.txt"]) == 0
    images = json.loads(Path("out/expected.json").read_bytes())["images_per_class"]
    assert 1 <= sum(count > 0 for count in images) <= 3  # 44 classes, 41 of them empty
