"""bf16-mixed, channels_last and torch.compile train as float32 eager does, attacks included."""

import copy
from contextlib import nullcontext

import pytest
import pytorch_lightning as pl
import torch
from helpers import Memory, small_batch
from parsers import ParserOnly
from torch._dynamo.utils import counters
from torch.utils.data import DataLoader
from training_processes import QUIET

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.networks.compiled import compile_passes, compiled
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    Free,
    GradAlign,
    HessianNorm,
    IGNorm,
    Madry,
    Mart,
    Standard,
    Trades,
)
from lightning_advinterp.training.callbacks import EMACallback, GuardCallback
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import OptimizerConfig, ScheduleConfig

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning", "ignore:The objective is Free"
)
EPS = 16 / 255
OBJECTIVES = {
    "standard": Standard,
    "consistency": lambda: Consistency(AttackConfig("fgsm", EPS)),
    "madry": lambda: Madry(AttackConfig("pgd", EPS, steps=2)),
    "trades": lambda: Trades(AttackConfig("trades", EPS, steps=2)),
    "free": lambda: Free(EPS),
    "hessian norm": lambda: HessianNorm(1e-2, Consistency(AttackConfig("fgsm", EPS))),
    "ig norm": lambda: IGNorm(attack=AttackConfig("pgd", EPS, steps=2), path_steps=3, recompute=True),
    "mart": lambda: Mart(AttackConfig("pgd", EPS, steps=2)),
    "awp": lambda: AWP(0.01, Madry(AttackConfig("pgd", EPS, steps=2))),
    "grad align": lambda: GradAlign(0.2, eps=EPS),
}
FORMATS = {
    "bf16-mixed": ({"precision": "bf16-mixed"}, {}, 2e-2),
    "channels_last": ({}, {"channels_last": True}, 1e-4),
    "compiled": ({}, {"compile": "aot_eager"}, 1e-5),
    "all": ({"precision": "bf16-mixed"}, {"channels_last": True, "compile": "aot_eager"}, 2e-2),
}
"""For each: settings of the trainer, of the module, and the tolerance of losses and of φ, relative."""
COMPILED, EAGER = (
    ("standard", "consistency", "madry", "hessian norm", "ig norm", "awp"),
    ("bf16-mixed", "channels_last"),
)


def module_of(objective, **settings):
    torch.manual_seed(0)
    return RobustClassifier(
        "helpers.SmallBackbone",
        num_classes=5,
        image_size=16,
        network_options={"phi": "relu2"},
        objective=objective,
        optimizer=OptimizerConfig(lr=0.05, weight_decay=0.0),
        schedule=ScheduleConfig("constant"),
        **settings,
    )


class Losses(pl.Callback):
    """What every step logs, the φ of a fixed batch after it, and, where that is wanted, what the network was shown."""

    def __init__(self, batch, watch=False):
        self.batch, self.watch = batch, watch
        self.logged, self.phi, self.shown = [], [], []

    def on_train_start(self, trainer, pl_module):
        normalize = pl_module.network.normalize
        if self.watch:
            pl_module.network.normalize = lambda x: self.shown.append((x.dtype, x.detach().clone())) or normalize(x)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")})
        before = copy.deepcopy(pl_module.network.state_dict())
        count = len(self.shown)
        with trainer.precision_plugin.forward_context(), compiled(pl_module.network, pl_module.passes), torch.no_grad():
            self.phi.append(pl_module.network.forward_features(self.batch.image, ["phi"])[1]["phi"].float())
        del self.shown[count:]
        pl_module.network.load_state_dict(before)


def train(name, trainer=None, watch=False, **settings):
    torch._dynamo.reset()
    counters.clear()
    data = small_batch(n=24, seed=4)
    module, losses = module_of(OBJECTIVES[name](), **settings), Losses(small_batch(n=6, seed=5), watch)
    pl.Trainer(accelerator="cpu", max_epochs=1, callbacks=[losses], **QUIET | (trainer or {})).fit(
        module, DataLoader(Memory(data), batch_size=8)
    )
    return module, losses


@pytest.fixture(scope="module")
def float32():
    return {name: train(name) for name in OBJECTIVES}


def difference(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(
    ("name", "format_"),
    [(name, format_) for name in OBJECTIVES for format_ in FORMATS if name in COMPILED or format_ in EAGER],
)
@pytest.mark.slow
def test_losses_and_features_are_those_of_float32(float32, name, format_):
    trainer, settings, tolerance = FORMATS[format_]
    module, ours = train(name, trainer, **settings)
    expected = float32[name][1]
    weight = module.network.backbone.conv2.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == settings.get("channels_last", False)
    if trainer:  # bfloat16 has three digits: the same numbers would mean that nothing was computed in it
        assert difference(ours.phi[0], expected.phi[0]) > 1e-4
    assert (counters["stats"]["unique_graphs"] > 0) == ("compile" in settings)
    assert len(ours.logged) == len(expected.logged) == 3
    for step, (logged, reference) in enumerate(zip(ours.logged, expected.logged, strict=True)):
        assert logged.keys() == reference.keys()
        for key in reference:
            if not key.endswith("acc"):  # a step function; distances are small differences of large numbers
                assert logged[key] == pytest.approx(reference[key], rel=tolerance, abs=tolerance), (step, key)
        assert difference(ours.phi[step], expected.phi[step]) < tolerance
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    assert all(parameter.requires_grad for parameter in module.network.parameters())
    assert module.network.passes is None


@pytest.mark.parametrize("name", ["consistency", "madry"])
def test_images_stay_float32_and_in_the_ball(name):
    """In bfloat16 neither 16/255 nor most pixels exist, and adversarial images would leave the ball."""
    _, losses = train(name, {"precision": "bf16-mixed"}, watch=True, channels_last=True)
    assert {dtype for dtype, _ in losses.shown} == {torch.float32}
    per_step = len(losses.shown) // 3
    for number in range(3):
        clean = small_batch(n=24, seed=4).image[8 * number : 8 * number + 8]
        adversarial = losses.shown[per_step * number + per_step - 1][1]
        distance = (adversarial - clean).abs().max().item()
        assert 0.9 * EPS < distance <= EPS + 1e-7
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1


@pytest.mark.slow
def test_everything_else_stays_eager_and_equal(float32):
    """Callbacks, averaged weights and a copy of the module beside compiled training."""
    torch._dynamo.reset()
    metrics, modules = [], []
    for settings in ({}, {"compile": "aot_eager"}):
        module = module_of(OBJECTIVES["consistency"](), **settings)
        guard = GuardCallback(6, AttackConfig("pgd", EPS, steps=1))
        loader = DataLoader(Memory(small_batch(n=24, seed=4)), batch_size=8)
        trainer = pl.Trainer(accelerator="cpu", max_epochs=2, callbacks=[guard, EMACallback(0.5)], **QUIET)
        trainer.fit(module, loader, loader)
        metrics.append({k: float(v) for k, v in trainer.callback_metrics.items()})
        modules.append(module)
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-4, abs=1e-5)
    eager, fast = (module.network.state_dict() for module in modules)
    for key, value in eager.items():
        torch.testing.assert_close(fast[key], value, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.slow
def test_layers_asked_for_later_come_out_of_compiled_passes():
    """A hook set after a compiled call would never fire; here the new set of layers is compiled anew."""
    torch._dynamo.reset()
    network, x = module_of(Standard()).network.eval(), small_batch().image
    expected = network.forward_features(x, ["relu1", "phi"])[1]
    passes = compile_passes(network, "aot_eager")
    fresh = module_of(Standard()).network.eval()
    passes = compile_passes(fresh, "aot_eager")
    with compiled(fresh, passes), torch.no_grad():
        fresh(x)
        fresh.forward_features(x, ["phi"])
        for layers in (["relu1"], ["relu1", "phi"], ["phi"]):
            logits, features = fresh.forward_features(x, layers)
            assert list(features) == layers
            for layer in layers:
                torch.testing.assert_close(features[layer], expected[layer])
            torch.testing.assert_close(logits, network(x))


def test_compiled_attacks_ask_for_the_input_gradient_alone():
    torch._dynamo.reset()
    network, batch = module_of(Standard()).network.train(), small_batch()
    attack = OBJECTIVES["madry"]().attack
    weight_gradients = []
    network.backbone.register_forward_hook(lambda *_: weight_gradients.append(network.backbone.fc.weight.requires_grad))
    expected = attack(network, batch.image, batch.label)
    assert weight_gradients == [True] * 2
    with compiled(network, compile_passes(network, "eager")):
        torch.testing.assert_close(attack(network, batch.image, batch.label), expected)
    assert weight_gradients == [True] * 2 + [False] * 2
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("before", [True, False])
def test_the_process_keeps_its_setting_of_torch_compile(before):
    settings, network = torch._functorch.config, module_of(Standard()).network.eval()
    with settings.patch(donated_buffer=before):
        passes = compile_passes(network, "eager")
        assert settings.donated_buffer is before
        with compiled(network, passes):
            assert settings.donated_buffer is False
            with compiled(network, None):
                assert settings.donated_buffer is False
        assert settings.donated_buffer is before


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"compile must be true, false or a backend \(.*inductor.*\), got 'nvfuser'"):
        module_of(Standard(), compile="nvfuser")


@pytest.mark.parametrize(("precision", "warns"), [("16-mixed", True), ("bf16-mixed", False), ("32-true", False)])
def test_half_precision_warns(precision, warns):
    expected = pytest.warns(UserWarning, match="bf16-mixed has float32's range") if warns else nullcontext()
    with expected:
        ParserOnly.parse(["--data", "ConceptWorldDataModule", "--trainer.precision", precision])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["standard", "consistency", "madry"])
def test_generated_code_trains_as_eager_does(float32, name):
    module, ours = train(name, compile=True)
    expected = float32[name][1]
    for step, (logged, reference) in enumerate(zip(ours.logged, expected.logged, strict=True)):
        for key in reference:
            assert logged[key] == pytest.approx(reference[key], rel=1e-4, abs=1e-6), (step, key)
        assert difference(ours.phi[step], expected.phi[step]) < 1e-4
    theirs = float32[name][0].network.state_dict()
    for key, value in module.network.state_dict().items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-5, msg=key)
