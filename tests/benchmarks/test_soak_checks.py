from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from soak_checks import check_files, check_limits, check_requests, check_rows
from soak_plan import ADDRESSES, ATTEMPTS, Url
from soak_watch import Kill, Stall

from ml_images.sample.request_log import Log

HOST = f"{ADDRESSES[0]}:80"
GOOD = Url(f"http://{HOST}/a.jpg", "")
SILENT = Url(f"http://{HOST}/-/fault/silent/a.jpg", "silent")  # a timeout: three attempts, and more in the next run


def log_of(*asked: tuple[Url, float]) -> Log:
    """Requests that are answered at once, each by a connection of its own."""
    paths = tuple(sorted({url.url.removeprefix(f"http://{HOST}") for url, _ in asked}))
    path = np.array([paths.index(url.url.removeprefix(f"http://{HOST}")) for url, _ in asked], np.int32)
    when = np.array([second for _, second in asked], np.float64)
    host = np.zeros(len(asked), np.int32)
    return Log((HOST,), paths, host, path, when, when + 0.001, host, when, when + 0.001)


def requests_hold(*asked: tuple[Url, float], kills: tuple[Kill, ...] = (), rows_of_task: int = 1) -> tuple[bool, bool]:
    policy, losses = check_requests([GOOD, SILENT], log_of(*asked), kills, rows_of_task)
    return policy.met, losses.met


def test_a_request_more_than_the_policy_allows_is_found() -> None:
    assert requests_hold((GOOD, 1.0), *((SILENT, float(second)) for second in range(ATTEMPTS))) == (True, True)
    assert requests_hold((GOOD, 1.0), (GOOD, 2.0)) == (False, False)
    assert requests_hold(*((SILENT, float(second)) for second in range(ATTEMPTS + 1))) == (False, False)


def test_only_a_kill_that_loses_rows_between_two_requests_explains_the_second() -> None:
    for kind in ("Python worker", "executor", "node", "driver"):
        assert requests_hold((GOOD, 1.0), (GOOD, 9.0), kills=(Kill(2.0, kind),)) == (True, True)
        assert requests_hold((GOOD, 1.0), (GOOD, 2.0), kills=(Kill(5.0, kind),)) == (False, True)
    assert requests_hold((GOOD, 1.0), (GOOD, 9.0), kills=(Kill(2.0, "decoder"),)) == (False, False)


def test_more_rows_than_were_at_stake_are_found() -> None:
    again = (GOOD, 1.0), (GOOD, 9.0), *((SILENT, second / 10) for second in range(ATTEMPTS)), (SILENT, 9.0)
    assert requests_hold(*again, kills=(Kill(2.0, "executor"),), rows_of_task=2) == (True, True)
    assert requests_hold(*again, kills=(Kill(2.0, "executor"),), rows_of_task=1) == (True, False)


def test_a_run_after_a_killed_driver_tries_again_what_deserves_it() -> None:
    again = [(SILENT, second + run) for run in (0.0, 50.0) for second in range(ATTEMPTS)]
    assert requests_hold((GOOD, 1.0), *again, kills=(Kill(20.0, "driver"),), rows_of_task=0) == (True, True)
    assert requests_hold((GOOD, 1.0), (GOOD, 60.0), kills=(Kill(20.0, "driver"),), rows_of_task=0) == (True, False)


def test_a_second_with_too_many_requests_is_found() -> None:
    spread = log_of(*((GOOD, number / 20) for number in range(100)))
    assert all(goal.met for goal in check_limits(spread, 80, 20, 1))
    rate, _, _ = check_limits(spread, 80, 18, 1)
    assert not rate.met


def test_what_came_while_the_server_stood_still_counts_for_that_time() -> None:
    late = log_of(*((GOOD, max(2.0, number / 20) if number >= 30 else number / 20) for number in range(100)))
    for stalls, met in (((), False), ((Stall(1.4, 2.0),), True), ((Stall(1.9, 2.0),), False)):
        rate, _, _ = check_limits(late, 80, 20, 1, stalls)
        assert rate.met == met


def test_a_connection_too_many_is_found_unless_another_ends_in_that_moment() -> None:
    log = log_of((GOOD, 1.0), (GOOD, 2.0))
    for end, met in ((1.5, True), (2.003, True), (2.5, False)):
        _, _, opened = check_limits(replace(log, closed=np.array([end, 3.0])), 80, 20, 1)
        assert opened.met == met


def test_lost_repeated_and_wrong_rows_are_found(tmp_path: Path) -> None:
    def rows_hold(*rows: tuple[str, str]) -> tuple[bool, bool]:
        keys, outcomes = zip(*rows, strict=True)
        pq.write_table(pa.table({"key": keys, "outcome": outcomes}), tmp_path / "part-0.parquet")
        once, deserved = check_rows([GOOD, SILENT], tmp_path)
        return once.met, deserved.met

    good, silent = (GOOD.url, "ok"), (SILENT.url, "timeout")
    assert rows_hold(good, silent) == (True, True)
    assert rows_hold(good) == (False, True)
    assert rows_hold(good, silent, silent) == (False, True)
    assert rows_hold(good, (SILENT.url, "ok")) == (True, False)


def test_what_is_no_part_of_the_table_is_found(tmp_path: Path) -> None:
    (tmp_path / "_staging").mkdir()
    for name in ("_SUCCESS", "_ml_images.json", "_lock", "part-0.parquet"):
        (tmp_path / name).touch()
    assert check_files(tmp_path)[0].met
    for name in ("_staging/part-1.parquet", ".part-0.parquet.half"):
        (tmp_path / name).touch()
        assert not check_files(tmp_path)[0].met
        (tmp_path / name).unlink()
