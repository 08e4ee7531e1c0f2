"""The masking defence: its networks are the masked ones, its units those that were ranked, its images others."""

import copy

import pytest
import torch
from helpers import Memory, small_batch, small_network
from torch import nn

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.sensitivity import masking
from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis, halves_of
from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
from lightning_advinterp.analyses.sensitivity.masking import MaskingAnalysis, masking_attacks
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.taps import taps

CONFIG = SensitivityConfig(mask_units=(0, 3), mask_eps="16/255", mask_steps=3, mask_draws=2)


def data_of(n=40):
    data = Memory(small_batch(n=n, dtype=torch.float64))
    data.indices = data.batch.index.tolist()
    return data


def run(data, network, layers="relu1", config=CONFIG, **options):
    attacks = create_attacks([AttackConfig("fgsm", "16/255")])
    changes = SensitivityAnalysis(attacks, layers=layers, noise=False, seed=4)
    runner = Runner(network, data, attacks=attacks, batch_size=8, seed=4, **options)
    analysis = MaskingAnalysis(changes, masking_attacks(config), config.mask_units, config.mask_draws, data)
    rows = runner.run([changes, analysis])["sensitivity_masking"].tables["sensitivity_masking"]
    return rows, changes, analysis


def by_case(rows):
    return {(row["units"], row["mask"], row["draw"], row["attack"]): row for row in rows}


def test_accuracies_equal_attacks_on_networks_without_the_units():
    """The oracle has no hooks: channels of relu1 are zero because the convolution behind them does not read them."""
    data, network = data_of(), small_network().double()
    rows, changes, _ = run(data, network)
    case_rows = by_case(rows)
    assert list(case_rows) == [
        (units, mask, draw, attack)
        for units, mask, draw in ((0, None, None), (3, "sensitive", None), (3, "random", 0), (3, "random", 1))
        for attack in ("clean", "pgd")
    ]
    batch = data.batch
    reported = halves_of(batch.index, 4) == 1
    x, y, keys = batch.image[reported], batch.label[reported], sample_keys(batch.index, seed=4)[reported]
    blind = small_network().double()
    with torch.no_grad():
        blind.backbone.conv2.weight[:, [unit for _, unit in changes.ranking(0)[:3]]] = 0
    (attack,) = masking_attacks(CONFIG).values()
    for units, model in ((0, small_network().double()), (3, blind)):
        case = (units, "sensitive" if units else None, None)
        clean = (model(x).argmax(1) == y).double().mean()
        attacked = (model(attack(model, x, y, keys=keys)).argmax(1) == y).double().mean()
        assert case_rows[*case, "clean"]["top1"] == pytest.approx(float(clean))
        assert case_rows[*case, "pgd"]["top1"] == pytest.approx(float(attacked))
        assert case_rows[*case, "pgd"]["n"] == int(reported.sum())


def test_the_attacked_network_is_the_masked_one(monkeypatch):
    """Every call of an attack sees logits that do not change when the masked units' weights do."""
    data, network = data_of(12), small_network().double()
    unchanged = []

    class Watched:
        eps, cost = 0.1, (1, 1)

        def __call__(self, attacked, x, y, *, keys):
            logits = attacked(x)
            mask = analyses[0]._masks[cases[len(unchanged) // batches]]
            units = mask.get("relu1", [])
            with torch.no_grad(), taps(network, replace={"bn1": lambda out: _noise_in(out, units)}):
                again = attacked(x)
            unchanged.append(torch.equal(again, logits))
            return x

    monkeypatch.setattr(masking, "masking_attacks", lambda config: {"watched": Watched()})
    attacks = create_attacks([AttackConfig("fgsm", "16/255")])
    changes = SensitivityAnalysis(attacks, layers="relu1", noise=False, seed=4)
    config = SensitivityConfig(mask_units=(3,), mask_draws=2)
    analyses = [MaskingAnalysis(changes, masking.masking_attacks(config), config.mask_units, config.mask_draws, data)]
    cases, batches = analyses[0].cases(), 1
    Runner(network, data, attacks=attacks, batch_size=12, seed=4).run([changes, *analyses])
    assert unchanged == [True] * 3


def _noise_in(maps, units):
    changed = maps.clone()
    changed[:, units] += 10
    return changed


def test_random_units_are_of_the_same_layers_and_the_ranking_is_of_the_other_half():
    data, network = data_of(), small_network().double()
    _, changes, analysis = run(data, network, layers=("relu1", "relu2"))
    sensitive = analysis._masks[3, "sensitive", 0]
    for draw in range(2):
        random = analysis._masks[3, "random", draw]
        assert {tap: len(units) for tap, units in random.items()} == {tap: len(u) for tap, u in sensitive.items()}
        assert all(len(set(units)) == len(units) for units in random.values())
    ranked = halves_of(data.batch.index, 4) == 0
    alone = Memory(type(data.batch)(*(field[ranked] for field in data.batch)))
    alone.indices = alone.batch.index.tolist()
    _, changes_alone, _ = run(
        data=alone, network=network, layers=("relu1", "relu2"), config=SensitivityConfig(mask_units=(0,))
    )
    first = [unit for unit in changes.ranking(0) if unit[0] == "relu1"]
    assert set(first) == {unit for unit in changes_alone.ranking(0) if unit[0] == "relu1"}
    assert not {int(number) for number in data.batch.index[ranked]} & set(analysis.choose({}))


def test_more_units_than_there_are_are_refused_before_any_work():
    data, network = data_of(8), small_network().double()
    with pytest.raises(ValueError, match=r"sensitivity.mask_units must be at most the 6 units of these layers, got 7"):
        run(data, network, config=SensitivityConfig(mask_units=(7,)))


def test_the_cost_is_announced():
    data, network = data_of(), small_network().double()
    attacks = create_attacks([AttackConfig("fgsm", "16/255")])
    changes = SensitivityAnalysis(attacks, layers="relu1", noise=False, seed=4)
    analysis = MaskingAnalysis(changes, masking_attacks(CONFIG), CONFIG.mask_units, CONFIG.mask_draws, data)
    runner = Runner(network, data, attacks=attacks, batch_size=8, seed=4)
    before = runner.passes([changes])
    announced = runner.passes([changes, analysis])
    calls = {"forward": 0}
    network.backbone.register_forward_hook(
        lambda module, inputs, output: calls.update(forward=calls["forward"] + len(output))
    )
    runner.run([changes, analysis])
    backwards = announced["backward_passes"] - before["backward_passes"]
    half = int((halves_of(data.batch.index, 4) == 1).sum())
    assert backwards == half * 4 * 3  # images, networks, steps
    assert calls["forward"] <= announced["forward_passes"] + 8  # grey images, which show what layers return
    assert calls["forward"] > 0.8 * announced["forward_passes"]


@pytest.mark.parametrize("at", [38, 82, 90])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, at):
    """Killed among the attacks, and among the masked networks: the ranking is the one that was known before."""
    network, expected = small_network().double(), run(data_of(), small_network().double())[0]

    broken = data_of()
    broken.readings = at
    journal = tmp_path / "state"
    with pytest.raises(OSError, match="power cut"):
        run(broken, network, journal=journal)
    assert run(data_of(), network, journal=journal)[0] == expected
    assert not list(tmp_path.iterdir())


def test_autoattack_is_made_where_it_is_asked_for():
    attacks = masking_attacks(SensitivityConfig(mask_units=(8,), mask_attack="pgd, autoattack", mask_eps="2/255"))
    assert list(attacks) == ["pgd", "autoattack"]
    assert {attack.eps for attack in attacks.values()} == {2 / 255}
    assert attacks["autoattack"].passes[0] > 1000
    assert attacks["pgd"].iterations == 20


class Tokens(nn.Module):
    """Four patches of two numbers each, and a class token: units are the last axis."""

    def __init__(self):
        super().__init__()
        self.embed, self.class_token = nn.Conv2d(3, 6, 8, stride=8), nn.Parameter(torch.ones(1, 1, 6))
        self.read, self.fc = nn.GELU(), nn.Linear(6, 5)

    def forward(self, x):
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = self.read(torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1))
        return self.fc(tokens.mean(1))


def test_units_of_tokens_are_the_last_axis():
    """The oracle has no hooks: the head does not read the masked units."""
    torch.manual_seed(0)
    network = Network(Tokens(), name="tokens", num_classes=5, input_size=16).double().eval()
    data = data_of(24)
    rows, changes, _ = run(data, network, layers="read")
    assert len(changes.ranking(0)) == 6  # units, not tokens
    blind = copy.deepcopy(network)
    with torch.no_grad():
        blind.backbone.fc.weight[:, [unit for _, unit in changes.ranking(0)[:3]]] = 0
    reported = halves_of(data.batch.index, 4) == 1
    x, y, keys = data.batch.image[reported], data.batch.label[reported], sample_keys(data.batch.index, seed=4)[reported]
    (attack,) = masking_attacks(CONFIG).values()
    case = by_case(rows)[3, "sensitive", None, "pgd"]
    attacked = blind(attack(blind, x, y, keys=keys)).argmax(1) == y
    assert case["top1"] == pytest.approx(float(attacked.double().mean()))
