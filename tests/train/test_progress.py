import io

from ml_images.train.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(out: io.StringIO, steps: int, seconds: float) -> str:
    clock = Clock()
    progress = Progress(out, total_steps=100, images_per_step=64, clock=clock)
    for step in range(1, steps + 1):
        clock.now += seconds
        progress.step(step, 0, 1.25, 0.1, seconds / 4, "decode")
    return out.getvalue()


def test_speed_and_remaining_time_are_those_of_the_steps() -> None:
    last = told(io.StringIO(), 40, 2.0).splitlines()[-1]
    assert last.startswith("step 40/100  epoch 1  loss 1.2500  lr 0.1  32.0 images/s")
    assert last.endswith("waiting for data 25% (decode)  0:02:00 left")


def test_a_log_file_gets_a_line_every_few_seconds_and_the_last_one() -> None:
    lines = told(io.StringIO(), 100, 1.0).splitlines()
    assert len(lines) == 21
    assert lines[-1].startswith("step 100/100")


def test_a_terminal_gets_one_line_that_moves() -> None:
    text = told(Terminal(), 30, 0.1)
    assert text.count("\n") == 0
    assert text.count("\r") == 30


def test_a_note_stays_and_its_time_is_nobodys_step() -> None:
    clock, out = Clock(), Terminal()
    progress = Progress(out, total_steps=10, images_per_step=10, clock=clock)
    clock.now += 1
    progress.step(1, 0, 1.0, 0.1, 0.0, "read")
    clock.now += 500  # an evaluation
    progress.note("epoch 1: done")
    clock.now += 1
    progress.step(2, 1, 1.0, 0.1, 0.0, "read")
    assert "\nepoch 1: done\n" in out.getvalue()
    assert "10.0 images/s  waiting for data 0% (read)  0:00:08 left" in out.getvalue()
