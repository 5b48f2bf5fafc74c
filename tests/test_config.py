from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from ml_images import config
from ml_images.errors import InputError
from ml_images.options import option


@dataclass(frozen=True)
class Fetch:
    timeout_s: float = option(10.0, "seconds to wait")
    attempts: int = option(3, "attempts at one URL")

    def __post_init__(self) -> None:
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, got {self.timeout_s}")


@dataclass(frozen=True)
class Job:
    lists: list[str] = option(help="annotation lists")
    output: str = option(help="folder for the tables")
    closure: Literal["closed_max", "none"] = option("closed_max", "what the hierarchy adds")
    base_url: str | None = option(None, "prefix")
    strict: bool = option(False, "be strict")
    fetch: Fetch = field(default_factory=Fetch)
    spark: dict[str, str] = option({}, "Spark settings")


def load(*argv: str) -> Job:
    return config.load(Job, ["lists=a.txt", "output=out", *argv], program="job.py", doc="A job.")


def line(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        config.load(Job, argv, program="job.py", doc="A job.")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_override_files_and_later_files_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("closure: none\nfetch: {timeout_s: 1, attempts: 5}\nstrict: true\n")
    (tmp_path / "b.yaml").write_text("fetch:\n  timeout_s: 2.5\n")
    job = load(str(tmp_path / "a.yaml"), "fetch.attempts=7", str(tmp_path / "b.yaml"))
    assert job == Job(["a.txt"], "out", "none", None, True, Fetch(2.5, 7), {})


def test_a_list_may_be_one_word_or_in_brackets() -> None:
    assert load().lists == ["a.txt"]
    assert load("lists=[a.txt, b.txt]").lists == ["a.txt", "b.txt"]


def test_numbers_may_be_written_as_floats_and_exponents() -> None:
    assert load("fetch.timeout_s=1e-3").fetch.timeout_s == 0.001
    assert load("fetch.timeout_s=4").fetch.timeout_s == 4.0


def test_keys_of_a_dict_option_keep_their_dots() -> None:
    assert load("spark.spark.executor.memory=2g", "spark.spark.ui.enabled=false").spark == {
        "spark.executor.memory": "2g",
        "spark.ui.enabled": "false",
    }


def test_unknown_key_names_the_nearest_and_all_accepted() -> None:
    message = line("lists=a", "outptu=x")
    assert "unknown option 'outptu' (command line)" in message
    assert "did you mean 'output'?" in message
    assert "fetch.timeout_s" in message


def test_unknown_key_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("fetch: {timeout: 1}\n")
    assert f"unknown option 'fetch.timeout' ({tmp_path / 'a.yaml'}); did you mean 'fetch.timeout_s'?" in line(
        str(tmp_path / "a.yaml")
    )


@pytest.mark.parametrize(
    ("word", "accepted"),
    [
        ("fetch.attempts=2.5", "integer"),
        ("fetch.attempts=true", "integer"),
        ("fetch.attempts=many", "integer"),
        ("fetch.timeout_s=soon", "number"),
        ("strict=perhaps", "true|false"),
        ("closure=open", "closed_max|none"),
    ],
)
def test_wrong_value_names_key_value_and_what_is_accepted(word: str, accepted: str) -> None:
    key, _, value = word.partition("=")
    message = line("lists=a", "output=b", word)
    assert f"option '{key}'" in message
    assert value.strip("'").lower() in message.lower()
    assert f"accepted is {accepted}" in message


def test_broken_rule_of_an_option_is_the_line() -> None:
    assert line("lists=a", "output=b", "fetch.timeout_s=-1") == "timeout_s must be positive, got -1.0"


def test_missing_required_option_is_named_with_its_meaning() -> None:
    assert line("lists=a") == "option 'output' is required: folder for the tables; give it as output=..."


@pytest.mark.parametrize(
    "text",
    [
        "*.txt",
        "a #b",
        "0123",
        "12:30:00",
        "1_000",
        "no",
        "2026-11-23",
        "null",
        "{a",
        "&a",
        "${HOME}/x",
        r"a\${b",
        r"\\${b}",
        "${",
    ],
)
def test_texts_on_the_command_line_are_what_they_are(text: str) -> None:
    job = load(f"output={text}", f"lists={text}", f"spark.spark.x={text}")
    assert (job.output, job.lists, job.spark) == (text, [text], {"spark.x": text})
    assert load(f"lists=[{text}, b[0-9].txt]").lists == [text, "b[0-9].txt"]


def test_quoted_texts_are_what_is_between_the_quotes() -> None:
    job = load("output='a, b'", "lists=['a, b', \"c\"]", "base_url=null")
    assert (job.output, job.lists, job.base_url) == ("a, b", ["a, b", "c"], None)
    assert load("lists=[]").lists == []


def test_what_is_no_assignment_is_refused() -> None:
    assert line("lists") == "'lists' is neither a .yaml file nor key=value; --help lists the options"
    assert "does not exist" in line("missing.yaml")


@pytest.mark.parametrize("content", ["a: [", "just a word", "- a\n- b"])
def test_files_that_are_no_mapping_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    assert str(tmp_path / "a.yaml") in line(str(tmp_path / "a.yaml"))


def test_help_shows_every_option_and_leaves_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        config.load(Job, ["--help"], program="job.py", doc="A job.\n\nExamples:\n  job.py output=x")
    assert left.value.code == 0
    text = capsys.readouterr().out
    for expected in ("usage: job.py", "Examples:", "fetch.timeout_s", "seconds to wait", "closed_max|none", "required"):
        assert expected in text


def test_keys_of_a_store_are_not_told_in_reports() -> None:
    @dataclass(frozen=True)
    class Job:
        spark: dict[str, str] = option({}, "settings")
        tokens: int = option(5, "a number that only sounds like a secret")

    settings = {
        "spark.hadoop.fs.s3a.secret.key": "k",
        "spark.hadoop.fs.s3a.access.key": "a",
        "spark.executor.memory": "1g",
    }
    masked = {"spark.hadoop.fs.s3a.secret.key": "***", "spark.hadoop.fs.s3a.access.key": "***"}
    assert config.to_dict(Job(settings)) == {"spark": settings | masked, "tokens": 5}
