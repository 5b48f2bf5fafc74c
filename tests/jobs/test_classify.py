from pathlib import Path

import pytest
from dataset_builder import COLOURS, jpeg
from trained_builder import untrained, write_checkpoint

from ml_images import entry
from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.jobs import classify
from ml_images.storage import tables

NAMES = ("animal", "dog", "cat", "plant", "tree", "flower")
TEXT = "".join(f"n0000000{number}\t-1\t{name}, other name\n" for number, name in enumerate(NAMES))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Options for a network whose vocabulary is known."""
    (tmp_path / "v.txt").write_text(TEXT)
    return [f"checkpoint={write_checkpoint(tmp_path / 'run', untrained())}", f"vocabulary={tmp_path}/v.txt"]


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    files = [tmp_path / "split=val" / f"{number}.jpg" for number in range(3)]
    for number, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(jpeg(COLOURS[number]))
    return [str(file) for file in files]


def test_pictures_are_told_by_name_and_score(
    words: list[str], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify.main([*words, "top=2", *photos]) == entry.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [f"{photo}:" for photo in photos]
    assert len(lines) == 9
    for line in lines:
        if line.startswith("  "):
            score, name, number = line.split()
            assert 0 <= float(score) <= 1
            assert NAMES[int(number.strip("()"))] == name
    first = [float(line.split()[0]) for line in lines[1:3]]
    assert first == sorted(first, reverse=True)


def test_a_broken_picture_is_named_and_the_others_are_classified(
    words: list[str], photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classify.main([*words, *photos])
    alone = capsys.readouterr().out
    half = tmp_path / "half.jpg"
    half.write_bytes(Path(photos[0]).read_bytes()[:700])
    (tmp_path / "page.jpg").write_text("<html>")
    odd = [photos[0], str(half), photos[1], str(tmp_path / "page.jpg"), photos[2]]
    assert classify.main([*words, *odd]) == entry.TOO_MUCH_LOST
    told = capsys.readouterr()
    assert told.out == alone
    assert [line.split(": ")[:2] for line in told.err.splitlines()] == [
        [str(half), "undecodable"],
        [str(tmp_path / "page.jpg"), "not_an_image"],
    ]


def test_the_format_of_the_original_on_request(
    words: list[str], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """specs 1.8: `+++ the predictions of <path> is:`, then k lines `<index> <name>: <prob %.3f>`."""
    assert classify.main([*words, "format=original", "top=3", photos[0]]) == entry.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"+++ the predictions of {photos[0]} is:"
    assert len(lines) == 4
    for line in lines[1:]:
        index, name, score = line.split(" ")
        assert NAMES[int(index)] + ":" == name
        assert score == f"{float(score):.3f}"


def test_more_pictures_than_the_network_gets_at_once_are_all_told(
    words: list[str], photos: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    classify.main([*words, *photos])
    together = capsys.readouterr().out
    monkeypatch.setattr(classify, "_AT_ONCE", 2)
    classify.main([*words, *photos])
    assert capsys.readouterr().out == together


def test_names_come_with_the_checkpoint_whatever_folder_it_is_used_in(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, at the relative path that the run's options have, lies another data set with as many classes."""
    other = TEXT.replace("dog", "wrong").replace("animal", "wrong")
    tables.write_part(f"{tmp_path}/data/_vocabulary", to_table(parse_vocabulary(other.encode(), "v")))
    path = write_checkpoint(tmp_path / "run", untrained(), class_names=NAMES, data={"path": "data"})
    monkeypatch.chdir(tmp_path)
    assert classify.main([f"checkpoint={path}", "top=0", photos[0]]) == entry.DONE
    told = capsys.readouterr()
    assert sorted(line.split()[1] for line in told.out.splitlines()[1:]) == sorted(NAMES)
    assert told.err == ""


def test_without_names_classes_are_told_by_number_which_is_said(
    words: list[str], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify.main([words[0], "top=0", photos[0]]) == entry.DONE
    told = capsys.readouterr()
    names = [line.split()[1:] for line in told.out.splitlines()[1:]]
    assert sorted(names) == [[str(number), f"({number})"] for number in range(6)]
    assert told.err == "the checkpoint has no names of classes; vocabulary=... would tell them\n"


def test_wrong_words_are_one_line(words: list[str], photos: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture was given"):
        classify.main(words)
    with pytest.raises(InputError, match=r"picture '.*missing.jpg' is no file"):
        classify.main([*words, f"{tmp_path}/missing.jpg", *photos])
    with pytest.raises(InputError, match=r"unknown option 'tops'"):
        classify.main([*words, "tops=3", *photos])
    with pytest.raises(InputError, match=r"option 'checkpoint' is required"):
        classify.main(photos)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        classify.main(["--help"])
    assert "ml-images classify checkpoint=" in capsys.readouterr().out


@pytest.mark.real_data
def test_photos_are_all_read(shared_data: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(str(file) for file in (shared_data / "photos").glob("*.JPEG"))[:40]
    assert classify.main([*words, "top=1", *files]) == entry.DONE
    assert len(capsys.readouterr().out.splitlines()) == 80
