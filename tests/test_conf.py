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


EXPERIMENTS = sorted((ROOT / "conf/train").glob("*.yaml"))
SMOKE = [ROOT / "conf/smoke/train.yaml", *sorted((ROOT / "conf/smoke/train").glob("*.yaml"))]


@pytest.mark.parametrize("path", [*EXPERIMENTS, *SMOKE], ids=lambda path: str(path.relative_to(ROOT / "conf")))
def test_training_configurations_fit_and_say_where_they_come_from(path: Path) -> None:
    from ml_images.train.job import TrainJob

    config.load(TrainJob, [str(path), "data.path=a", "output=b"], program="train.py")
    assert path.read_text().startswith("# ")


def test_every_experiment_names_its_paper_its_number_and_has_a_sibling_for_a_laptop() -> None:
    for path in EXPERIMENTS:
        head = path.read_text().partition("epochs:")[0]
        assert "arXiv" in head and "Number to expect" in head, path
    siblings = {path.name for path in SMOKE[1:]} | {"pretrain.yaml"}  # whose sibling is smoke/train.yaml
    assert siblings == {path.name for path in EXPERIMENTS}
