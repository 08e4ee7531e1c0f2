"""Tracing during training: support and counterfactual rates as curves, a sheet of errors as a figure."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.cli import train

WATCH = """
watch:
  tracing: {limit: 24, attacks: [{type: fgsm, eps: 32/255}], settings: {layers: [layer3], limit: 6, show: 2}}
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "watch.yaml").write_text(WATCH)
    train(
        [
            *("--config", str(folder / "watch.yaml"), "--output", str(folder), "--name", "traced"),
            *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
            *("--trainer.log_every_n_steps", "1"),
            *("--data", "ConceptWorldDataModule", "--data.train_size", "32", "--data.val_size", "24"),
            *("--data.image_size", "16", "--data.batch_size", "16", "--model.network", "cifar_resnet20"),
            *("--guard", "null", "--pictures", "null", "--accuracy", "null"),
        ]
    )
    (path,) = (folder / "traced").rglob("events.out.tfevents*")
    events = EventAccumulator(str(path), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def test_curves_and_a_sheet(log):
    tags = log.Tags()
    measures = {"support_wrong", "near_wrong", "counterfactual", "counterfactual_control"}
    assert {f"tracing/{name}" for name in measures} <= set(tags["scalars"])
    assert {f"tracing/fgsm/{name}" for name in ("support_wrong", "counterfactual")} <= set(tags["scalars"])
    assert "tracing/errors" in tags["images"]
    for name in measures:
        assert 0 <= log.Scalars(f"tracing/{name}")[0].value <= 1
