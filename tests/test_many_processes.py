"""Several processes by Lightning's DDP alone, against the same computed by hand in one process."""

import pytest
import torch
from helpers import small_batch, small_network
from processes import on_processes
from training_processes import (
    COMPILED,
    FRAGILITY,
    PGD,
    STEPS,
    SYNCHRONISED,
    Uneven,
    by_hand,
    epochs_with_a_bar,
    everything,
    jointly_by_hand,
    module_of,
    objectives,
    save_source,
    watched_validation,
)

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.data.sampler import ShardSampler
from lightning_advinterp.networks.sync_batch_norm import (
    desynchronize_batch_norm,
    is_synchronized,
    synchronize_batch_norm,
)
from lightning_advinterp.objectives import Consistency, Madry

OBJECTIVES = (
    *("standard", "madry", "madry, bn: eval", "fast", "kurakin", "consistency", "consistency, bn: eval"),
    *("consistency, bn: frozen", "consistency, pgd", "free", "trades", "ensemble"),
    *("hessian norm", "hessian norm, bn: eval", "ig norm", "ig norm, bn: eval", "ig sum norm", "mart"),
    *("consistency, mart", "grad align", "grad align, bn: eval"),
)
MOVED = ("awp", "awp, consistency", "awp, bn: frozen")
"""Those whose shares depend on each other: the weights move by the gradient of all."""


def assert_equal(ours, theirs, message):
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-11, msg=f"{message}: {key}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    save_source(folder)
    return str(folder)


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes saw."""
    return on_processes(everything, 2, folder)


@pytest.mark.ddp
@pytest.mark.parametrize(
    ("kind", "name"), [*(("alone", name) for name in OBJECTIVES), *(("compiled", name) for name in COMPILED)]
)
@pytest.mark.slow
def test_gradients_are_the_mean_of_the_shares(two, folder, kind, name):
    """Also over several forward passes before the one backward pass; each step begins with process 0's buffers."""
    assert tuple(objectives(folder)) == (*OBJECTIVES, *MOVED)
    expected, shares = by_hand(objectives(folder)[name])
    assert any((shares[0][key] - shares[1][key]).abs().max() > 1e-3 for key in shares[0])
    for rank in range(2):
        ours = two[rank][kind][name]
        assert len(ours["gradients"]) == len(ours["buffers"]) == STEPS
        for number in range(STEPS):
            for part in ("gradients", "buffers"):
                assert_equal(ours[part][number], expected[rank][part][number], f"{part} of {rank}, step {number}")


@pytest.mark.ddp
@pytest.mark.slow
def test_weights_are_moved_alike_by_the_gradient_of_all_processes(two, folder):
    """With statistics that no batch changes, two processes with half a batch each are one with the whole."""
    objective = objectives(folder)["awp, bn: frozen"]
    expected, (apart, _) = jointly_by_hand(objective), by_hand(objective)[0]
    key = "backbone.conv1.weight"
    assert (apart["gradients"][0][key] - expected["gradients"][0][key]).abs().max() > 1e-6
    for rank in range(2):
        for number in range(STEPS):
            assert_equal(
                two[rank]["alone"]["awp, bn: frozen"]["gradients"][number], expected["gradients"][number], rank
            )


@pytest.mark.ddp
@pytest.mark.parametrize("name", SYNCHRONISED)
@pytest.mark.slow
def test_synchronised_batch_norm_sees_the_joint_batch(two, folder, name):
    """Two processes with half a batch each are one with the whole batch, attacks included."""
    expected, (apart, _) = jointly_by_hand(objectives(folder)[name]), by_hand(objectives(folder)[name])[0]
    key = "backbone.bn2.running_var"
    assert not torch.allclose(apart["buffers"][-1][key], expected["buffers"][-1][key], rtol=1e-4)
    for rank in range(2):
        ours = two[rank]["synchronised"][name]
        for number in range(STEPS):
            for part in ("gradients", "buffers"):
                assert_equal(ours[part][number], expected[part][number], f"{part} of {rank}, step {number}")


@pytest.mark.ddp
@pytest.mark.slow
def test_an_odd_number_of_images_is_judged_as_by_one_process(two):
    """9 images, in 2 batches here and 1 there: no process waits for ever, and no image counts twice."""
    results = [two[rank]["uneven"] for rank in range(2)]
    assert [result["batches"] for result in results] == [[[40, 42, 44, 46], [48]] * 2, [[41, 43, 45, 47]] * 2]
    module, data = module_of(Consistency()), Uneven().val_dataset
    module.network.load_state_dict({key.removeprefix("network."): v for key, v in results[0]["state"].items()})
    network = module.network.eval()
    logits, label = network(data.batch.image), data.batch.label
    expected = {
        "val/loss": torch.nn.functional.cross_entropy(logits, label).item(),
        "val/acc": (logits.argmax(1) == label).double().mean().item(),
        "val/acc5": 1.0,
    }
    attacks = create_attacks([PGD])
    table = Runner(network, data, attacks=attacks, limit=7).run([AccuracyAnalysis(attacks)])["accuracy"]
    expected_attack = {"val/pgd_acc": table.scalars["pgd_acc"]}
    fragility = Runner(network, data).run([FragilityAnalysis(FRAGILITY)])["fragility"].scalars
    assert fragility["fragility/images"] > 2
    expected_attack |= fragility
    for result in results:
        for key, value in (expected | expected_attack).items():
            assert result["logged"][key] == pytest.approx(value, abs=1e-6), key
        for key, value in expected.items():
            assert result["validate"][key] == pytest.approx(value, abs=1e-6), key
        assert result["state"].keys() == results[0]["state"].keys()
        for key in result["logged"]:  # of training batches, too, monitors see the mean over the processes
            assert result["logged"][key] == results[0]["logged"][key], key
        assert result["guard"] == results[0]["guard"]


def test_shares_hold_every_image_once():
    data = list(range(11))
    shares = [list(ShardSampler(data, rank=rank, world_size=4)) for rank in range(4)]
    assert sorted(item for share in shares for item in share) == data
    assert [len(share) for share in shares] == [len(ShardSampler(data, rank=r, world_size=4)) for r in range(4)]
    assert shares[1] == [1, 5, 9]
    with pytest.raises(ValueError, match="3 images cannot be shared out among 4 processes"):
        ShardSampler(data[:3], rank=0, world_size=4)
    with pytest.raises(ValueError, match=r"rank must be in \[0, world_size\), got rank=4"):
        ShardSampler(data, rank=4, world_size=4)


def test_a_process_alone_reads_as_before():
    data = Uneven()
    assert [batch.index.tolist() for batch in data.val_dataloader()] == [[40, 41, 42, 43], [44, 45, 46, 47], [48]]


def test_synchronising_undoes_itself():
    network = small_network().train()
    batch, layers = small_batch(), [type(part) for part in network.modules()]
    identity = [id(part) for part in network.modules()]
    passes = []
    network.backbone.bn1.register_forward_hook(lambda *_: passes.append(1))
    expected = network(batch.image)
    synchronize_batch_norm(network)
    assert is_synchronized(network)
    torch.testing.assert_close(network(batch.image), expected)  # one process alone: nothing to wait for
    desynchronize_batch_norm(network)
    assert not is_synchronized(network)
    assert [type(part) for part in network.modules()] == layers
    assert [id(part) for part in network.modules()] == identity
    torch.testing.assert_close(network(batch.image), expected)
    assert len(passes) == 3


def test_batch_norm_that_computes_by_itself_is_refused():
    from timm.layers import BatchNormAct2d

    with pytest.raises(ValueError, match=r"0 \(BatchNormAct2d\) of its 1 BatchNorm layers compute by themselves"):
        synchronize_batch_norm(torch.nn.Sequential(BatchNormAct2d(4)))


def test_uneven_numbers_of_passes_are_refused(folder):
    """They would wait for each other for ever."""
    for attack in (AttackConfig("pgd", stop_after=1), AttackConfig("pgd", restarts=2)):
        with pytest.raises(ValueError, match="leave these out, or set the objective's bn to eval"):
            Madry(attack).check_even_passes()
        Madry(attack, bn="eval").check_even_passes()
    with pytest.raises(ValueError, match="set the objective's bn to eval"):
        objectives(folder)["ensemble"].check_even_passes()
    for name in ("hessian norm", "ig norm", "ig sum norm"):
        with pytest.raises(ValueError, match="no second derivatives, which"):
            objectives(folder)[name].check_even_passes()
    objectives(folder)["consistency"].check_even_passes()


@pytest.mark.ddp
@pytest.mark.filterwarnings("ignore:You have overridden `on_.*_batch_transfer`")
@pytest.mark.slow
def test_dissection_and_semantics_log_what_one_process_logs(two):
    """In float64, where batches of other images round alike; the concept world's pictures are shared 4 to 3."""
    expected = watched_validation(0, 1)
    assert two[0]["watched"] == two[1]["watched"]
    assert two[0]["watched"] == pytest.approx(expected, abs=1e-6)
    kinds = {key.split("/")[1] for key in expected if key.startswith("dissection/")}
    assert {"real", "fgsm", "bim", "retention"} <= kinds
    assert {"semantics/conv1/cs1", "semantics/fgsm/conv2/cs2", "distances/bim/r_src"} <= expected.keys()


@pytest.mark.ddp
@pytest.mark.timeout(240)
def test_a_progress_bar_of_the_first_process_leaves_none_behind():
    """It reads what was logged, which is an exchange; the others make the same one before the epoch's next."""
    first, second = on_processes(epochs_with_a_bar, 2)
    assert [set(logged) for logged in first] == [set(logged) for logged in second]
    for ours, theirs in zip(first, second, strict=True):
        assert ours == theirs
        assert ours["mine"] == 0.5
        assert {"guard/pgd_acc", "time/epoch_seconds", "train/loss"} <= set(ours)
