"""Sensitivity during training: what is logged and drawn, with concepts and without, and that nothing is changed."""

import pytest
import torch
from short_configs import short_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.cli import train

CONFIG = short_config(seed=3, max_epochs=1)
CONFIG += """
model:
  network: helpers.SmallBackbone
  network_options: {dropout: 0.5, phi: relu2}
accuracy: null
guard: null
pictures: null
"""
WATCH = "{{limit: 16, attacks: [{{type: fgsm, eps: 16/255}}], settings: {{layers: [relu1, relu2]}}{more}}}"
PLAIN = {f"sensitivity/{name}" for name in ("sensitivity", "promoted", "suppressed")}
PLAIN |= {f"sensitivity/sensitivity_{noise}" for noise in ("noise_linf", "noise_l2")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same training three times: unwatched, watched, and watched with concepts."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "run.yaml").write_text(CONFIG)
    watched = {
        "none": "null",
        "alone": WATCH.format(more=""),
        "concepts": WATCH.format(more=", concepts: concept_world"),
    }
    for name, settings in watched.items():
        (folder / "watch.yaml").write_text(f"watch: {{sensitivity: {settings}}}\n")
        configs = ("--config", str(folder / "run.yaml"), "--config", str(folder / "watch.yaml"))
        train([*configs, "--output", str(folder), "--name", name])
    return folder


@pytest.mark.slow
def test_watching_changes_nothing(runs):
    plain, *watched = (
        torch.load(runs / name / "last.ckpt", weights_only=True) for name in ("none", "alone", "concepts")
    )
    for checkpoint in watched:
        assert all(torch.equal(plain["state_dict"][key], checkpoint["state_dict"][key]) for key in plain["state_dict"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figures"), [("alone", {"changes"}), ("concepts", {"changes", "test"})])
def test_changes_are_logged_and_drawn(runs, name, figures):
    events = EventAccumulator(str(runs / name)).Reload()
    tags = {tag for tag in events.Tags()["scalars"] if tag.startswith("sensitivity/")}
    assert tags >= PLAIN
    claim = {tag for tag in tags if "interpretable" in tag}
    assert claim <= {"sensitivity/interpretable_minus_matched", "sensitivity/interpretable_effect"}
    if name == "alone":
        assert not claim
    assert set(events.Tags()["images"]) == {f"sensitivity/{figure}" for figure in figures}
    value = events.Scalars("sensitivity/sensitivity")[0].value
    assert value > events.Scalars("sensitivity/sensitivity_noise_l2")[0].value > 0


@pytest.mark.slow
def test_with_concepts_changes_stay_what_they_are(runs):
    both = [EventAccumulator(str(runs / name)).Reload() for name in ("alone", "concepts")]
    for tag in PLAIN:
        first, second = (events.Scalars(tag)[0].value for events in both)
        assert first == second, tag
