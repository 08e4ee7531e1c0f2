"""A user's network and session are as before after every public call, also after an error midway."""

from contextlib import nullcontext, suppress

import pytest
import pytorch_lightning as pl
import torch
from helpers import SmallBackbone, small_network
from torch.utils.data import DataLoader, TensorDataset
from users_state import as_a_user_has_it, of_network, same, unchanged

import lightning_advinterp as advinterp
from lightning_advinterp.analyses import AccuracyAnalysis
from lightning_advinterp.attacks import AttackConfig, ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.attacks.explanation.builders import AIMS
from lightning_advinterp.attacks.prediction.builders import BUILDERS
from lightning_advinterp.explanations import EXPLANATIONS
from lightning_advinterp.networks import Network

IMAGES = torch.rand(48, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(48) % 4
NAMES = ["n02123045", "n02099712", "n03599486", "n04146614"]
ELSEWHERE = {
    "transfer": "other networks",
    "ensemble": "other networks",
    "stored": "images that are there",
    "pattern_attribution": "a file of patterns",
    "attention_rollout": "a transformer",
    "target_map": "a map",
}
"""Types that need more than a network and images."""
SETTINGS = {
    "semantics": {"share": 0.5},
    "curvature": {"limit": 1},
    "dissection": {"quantile": 0.9, "groups": 2, "replicates": 2, "units": 1},
}


class Broken(SmallBackbone):
    """A network that breaks off in its third pass."""

    def __init__(self):
        super().__init__(4)
        self.left = [2]  # a list: attributes that are numbers must stay as they are

    def forward(self, x):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise RuntimeError("out of order")
        return super().forward(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return as_a_user_has_it(SmallBackbone(4))


@pytest.fixture
def broken():
    torch.manual_seed(0)
    return as_a_user_has_it(Broken())


def breaking():
    return pytest.raises(Exception, match="out of order")


def quiet(tmp_path, **settings):
    return {"quiet": True, "num_workers": 0, "output": str(tmp_path / "out"), **settings}


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ELSEWHERE])
def test_an_attack(name, network, broken):
    takes = AttackConfig.takes(name)
    settings = {key: value for key, value in {"steps": 1, "restarts": 1, "weight": 0.1}.items() if key in takes}
    attack = advinterp.create_attack(name, **settings)
    with unchanged(network):
        attack(network, IMAGES[:2], LABELS[:2])
    broken.left[0] = 0
    with unchanged(broken), nullcontext() if name == "random_sign" else breaking():
        attack(broken, IMAGES[:2], LABELS[:2])


@pytest.mark.parametrize("name", [name for name in EXPLANATIONS if name not in ELSEWHERE])
def test_an_explanation(name, network, broken):
    method = advinterp.create_explanation(name)
    with unchanged(network):
        method.map(network, IMAGES[:1], 1)
        method.look(network, IMAGES[:1], 1)
        with suppress(ValueError):  # guided backpropagation has no such derivative here
            method.map(network, IMAGES[:1].clone().requires_grad_(), 1, create_graph=True)
    broken.left[0] = 0
    with unchanged(broken), pytest.raises(Exception, match=r"out of order|no default feature layer"):
        method.map(broken, IMAGES[:1], 1)


@pytest.mark.parametrize("name", [name for name in AIMS if name not in ELSEWHERE])
def test_an_attack_on_explanations(name, network, broken):
    attack = create_explanation_attack(ExplanationAttackConfig(name, steps=1), advinterp.create_explanation("gradient"))
    with unchanged(network):
        attack.run(network, IMAGES[:2])
    broken.left[0] = 1
    with unchanged(broken), breaking():
        attack.run(broken, IMAGES[:2])


def evaluated(network, names, tmp_path):
    """Ask questions as a notebook does, and look at what they found."""
    settings = {name: SETTINGS[name] for name in SETTINGS if name.partition(".")[0] in (*names, "patches")}
    settings |= {
        "layers": "last",
        "classes": NAMES,
        "attack": "fgsm",
        "concepts": "concept_world",
        "limit": len(IMAGES),
    }
    with unchanged(network):
        results = advinterp.evaluate(network, (IMAGES, LABELS), analyses=names, **settings, **quiet(tmp_path))
        assert results.figures()
        assert "<table>" in results._repr_html_()
        assert advinterp.load_results(tmp_path / "out").figures().keys() == results.figures().keys()


def test_questions_that_are_soon_answered(network, tmp_path):
    evaluated(network, ["accuracy", "predictions", "distances"], tmp_path)


@pytest.mark.slow
def test_questions_with_hooks_and_pictures(network, tmp_path):
    """The thirteen questions together pass too, but take a minute and a half."""
    evaluated(network, ["semantics", "curvature", "dissection"], tmp_path)


def test_an_evaluation_that_breaks_off(broken, tmp_path):
    class Images(TensorDataset):
        def __getitem__(self, place):
            if place == 40:
                raise RuntimeError("out of order")
            return super().__getitem__(place)

    images = Images(IMAGES, LABELS)
    images.labels, images.fingerprint = LABELS, "x"
    for data, network in ((images, small_network(4)), ((IMAGES, LABELS), broken)):
        with unchanged(network), pytest.raises((RuntimeError, ValueError), match="out of order"):
            advinterp.evaluate(network, data, **quiet(tmp_path))
    with unchanged(broken), pytest.raises(TypeError):
        advinterp.evaluate(broken, (IMAGES, LABELS), atack="fgsm")


def test_a_runner(broken):
    network = as_a_user_has_it(small_network(4))  # which is looked at itself, and no copy of it
    attacks = {"fgsm": advinterp.fgsm()}
    with unchanged(network):
        advinterp.Runner(network, (IMAGES, LABELS), attacks=attacks).run([AccuracyAnalysis(attacks)])
    inner = as_a_user_has_it(Network(broken, name="broken", num_classes=4, input_size=16))
    broken.left[0] = 1
    with unchanged(inner), breaking():
        advinterp.Runner(inner, (IMAGES, LABELS), attacks=attacks).run([AccuracyAnalysis(attacks)])


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:You defined a `validation_step`", "ignore:Found . module"
)
def test_a_classifier(network):
    """A copy is trained; the draws of a training move the session's random state, as any training's do."""
    before = of_network(network)
    classifier = advinterp.RobustClassifier(network, image_size=16)
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, limit_val_batches=0, **settings)
    trainer.fit(classifier, DataLoader(TensorDataset(IMAGES, LABELS), batch_size=24))
    after = of_network(network)
    assert all(same(before[name], after[name]) for name in before | after)
