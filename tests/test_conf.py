"""Every file under conf/ fits the options of its entry point."""

import importlib
from pathlib import Path

import pytest

from ml_images import config

ROOT = Path(__file__).parents[1]
JOBS = {
    "annotate": ["lists=a", "vocabulary=b", "output=c"],
    "download": ["labels=a", "output=b"],
    "materialize": ["annotations=a", "images=b", "output=c"],
    "cooccur": ["annotations=a", "output=b"],
    "augment": ["annotations=a", "pairs=b", "output=c"],
    "describe": ["annotations=a", "output=b"],
}


@pytest.mark.parametrize("folder", ["conf", "conf/smoke"])
@pytest.mark.parametrize("job", sorted(JOBS))
def test_job_configurations_fit_and_say_what_they_are_for(job: str, folder: str) -> None:
    schema = importlib.import_module(f"ml_images.jobs.{job}").Job
    path = ROOT / folder / f"{job}.yaml"
    config.load(schema, [str(path), *JOBS[job]], program=job)
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", [*sorted((ROOT / "conf/train").glob("*.yaml")), ROOT / "conf/smoke/train.yaml"])
def test_training_configurations_fit_and_say_where_they_come_from(path: Path) -> None:
    from ml_images.train.job import TrainJob

    config.load(TrainJob, [str(path), "data.path=a", "output=b"], program="train.py")
    assert path.read_text().startswith("# ")
