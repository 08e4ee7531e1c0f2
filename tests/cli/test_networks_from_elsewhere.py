"""Networks of other programs in every command: what their files say is used, said and kept, or refused."""

import json

import pytest
import torch
from helpers import SmallBackbone

from lightning_advinterp.cli import TrainCLI, evaluate
from lightning_advinterp.cli.adversarial import main as make_set
from lightning_advinterp.data.concept_world import CLASSES
from lightning_advinterp.networks import create_network
from lightning_advinterp.objectives import SourceNetwork

NET = "helpers.SmallBackbone"
WNIDS = [item.wnid for item in CLASSES]
SMALL = ["--data", "concept_world", "--limit", "4", "--crop", "16"]


@pytest.fixture
def foreign(tmp_path):
    """A wrapped network of twelve classes with its normaliser, as RobustBench saves one; and a moving average."""
    torch.manual_seed(0)
    state = SmallBackbone(12).state_dict()
    average = {key: value * 2 if value.is_floating_point() else value for key, value in state.items()}
    statistics = {"normalize.mean": torch.full((1, 3, 1, 1), 0.25), "normalize.std": torch.full((1, 3, 1, 1), 0.5)}
    wrapped = {f"model.{key}": value for key, value in state.items()}
    torch.save({"state_dict": wrapped | statistics, "state_dict_ema": average}, tmp_path / "foreign.pth")
    return str(tmp_path / "foreign.pth")


def checkpoint(path, classes):
    network = create_network(NET, num_classes=len(classes), input_size=16)
    state = {f"network.backbone.{key}": value for key, value in network.backbone.state_dict().items()}
    meta = {"format": 1, "network": network.spec(), "classes": classes, "class_names": classes, "seed": 0}
    torch.save({"state_dict": state, "epoch": 0, "advinterp": meta}, path)
    return str(path)


def kept(folder):
    return json.loads((folder / "results.json").read_text())["provenance"]


def test_an_evaluation_says_and_keeps_what_it_uses(foreign, tmp_path, capsys):
    flags = ["--network", NET, "--weights", foreign, *SMALL, "--attack", "null"]
    evaluate([*flags, "--output", str(tmp_path / "file")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "its set 'state_dict:model.' (also there: 'state_dict_ema'; choose by weights_set)" in printed
    assert "mean [0.25, 0.25, 0.25], std [0.5, 0.5, 0.5] (normalize.mean and normalize.std of the file)" in printed
    record = kept(tmp_path / "file")
    assert record["network"]["mean"] == [0.25] * 3
    assert record["weights"]["weights_set"] == "state_dict:model."
    evaluate([*flags, "--weights_set", "ema", "--output", str(tmp_path / "average")])
    assert kept(tmp_path / "average")["network"]["mean"] == [0.25] * 3
    overrides = ["--weights_set", "ema", "--mean", "none", "--network_options.dropout", "0.5"]
    evaluate([*flags, *overrides, "--output", str(tmp_path / "said")])
    changed = kept(tmp_path / "said")
    assert changed["network"]["mean"] == [0.0] * 3
    assert changed["network"]["dropout"] == 0.5
    assert changed["weights_sha256"] != record["weights_sha256"]


def test_rows_members_and_sets_say_the_same(foreign, tmp_path, capsys):
    named = f"network: {NET}, weights: {foreign}"
    member = f"{{{named}, mean: imagenet, input_size: 16}}"
    config = tmp_path / "table.yaml"
    config.write_text(
        f"mean: none\nrows:\n- {{name: whole, {named}}}\n- {{name: own, {named}, mean: '0.5', std: '0.25'}}\n"
        f"attack: [{{type: transfer, eps: 8/255, steps: 1, members: [{member}]}}]\n"
    )
    evaluate(["--config", str(config), *SMALL, "--output", str(tmp_path / "out")])
    assert kept(tmp_path / "out" / "whole")["network"]["mean"] == [0.0] * 3
    assert kept(tmp_path / "out" / "own")["network"]["std"] == [0.25] * 3
    capsys.readouterr()
    flags = ["--network", NET, "--weights", foreign, *SMALL, "--mean", "0.5", "--std", "0.25", "--targets", "1"]
    make_set([*flags, "--attack", "{type: fgsm, eps: 8/255}", "--output", str(tmp_path / "set")])
    assert "std [0.25, 0.25, 0.25] (as given" in " ".join(capsys.readouterr().out.split())
    for weights_set in (None, "ema"):
        assert SourceNetwork(NET, foreign, weights_set=weights_set, input_size=16).load().mean == (0.25,) * 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mean", "0.5", "--std", "0.5", "--checkpoint", "a.ckpt"], "mean=0.5 contradicts the checkpoint"),
        (["--mean", "0.5", "--network", NET], "mean and std must be given together"),
        (["--weights_set", "ema", "--network", NET], "weights_set='ema' chooses among the sets of a file"),
        (["--network", "inception_v3", "--num_classes", "12"], "inception_v3 does not take images of 3x16x16"),
        (["--network", "vit_b_32", "--num_classes", "12", "--input_size", "64"], "Expected 64 but got 16"),
        (["--network", "timm/resnet10t", "--num_classes", "12", "--network_options.in_chans", "1"], "1-channel images"),
    ],
)
@pytest.mark.parametrize("command", [evaluate, make_set])
def test_what_does_not_fit_is_refused_before_any_work(flags, message, command, tmp_path, capsys):
    attack = ["--attack", "fgsm" if command is evaluate else "{type: fgsm}"]
    with pytest.raises(SystemExit) as stopped:
        command([*flags, *SMALL, *attack, "--output", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "results.json").exists()


def test_other_classes_are_refused_before_any_work(foreign, tmp_path, capsys):
    """In the second network of a comparison, and in a member of an attack."""
    first = checkpoint(tmp_path / "first.ckpt", WNIDS)
    stranger = checkpoint(tmp_path / "other.ckpt", [f"class {place}" for place in range(12)])
    flags = ["--checkpoint", first, *SMALL, "--output", str(tmp_path / "out")]
    member = f"[{{type: transfer, eps: 8/255, steps: 1, members: [{{checkpoint: {stranger}}}]}}]"
    for more, message in (
        (["--compare", stranger], "was trained on others"),
        (["--attack", member], "have other classes"),
    ):
        with pytest.raises(SystemExit):
            evaluate([*flags, *more])
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out" / "accuracy.csv").exists()
    moved = checkpoint(tmp_path / "moved.ckpt", [*WNIDS[1:], WNIDS[0]])
    with pytest.raises(SystemExit):
        evaluate([*flags, "--attack", member.replace(stranger, moved)])
    assert "output 0 is" in " ".join(capsys.readouterr().err.split())


TRAINING = (
    *("--data", "ConceptWorldDataModule", "--data.init_args.image_size", "16", "--data.init_args.train_size", "24"),
    *("--data.init_args.val_size", "12", "--data.init_args.batch_size", "12", "--data.init_args.num_workers", "0"),
    *("--accuracy", "null", "--guard", "null", "--pictures", "null", "--trainer.accelerator", "cpu"),
)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.weights", "OTHER"], r"model\.weights .* and the data have other classes: output 0 .*new_head"),
        (["--model.weights", "MOVED"], r"have other classes: output 0 is "),
        (["--model.network", "inception_v3"], r"inception_v3 does not take images of 3x16x16: .*image_size"),
        (["--model.network", "timm/resnet10t", "--model.network_options", "{in_chans: 1}"], "1-channel images"),
    ],
)
def test_training_refuses_before_the_first_step(flags, message, tmp_path):
    places = {"OTHER": [f"class {place}" for place in range(12)], "MOVED": [*WNIDS[1:], WNIDS[0]]}
    written = [checkpoint(tmp_path / f"{flag}.ckpt", places[flag]) if flag in places else flag for flag in flags]
    cli = TrainCLI.parse(["--output", str(tmp_path), "--model.network", NET, *TRAINING, *written])
    with pytest.raises(ValueError, match=message):
        cli.check()


def test_weights_of_other_classes_start_a_new_head_on_request(tmp_path):
    path = checkpoint(tmp_path / "other.ckpt", [f"class {place}" for place in range(12)])
    flags = ["--model.network", NET, "--model.weights", path, "--model.new_head", "true"]
    cli = TrainCLI.parse(["--output", str(tmp_path), *TRAINING, *flags])
    assert cli.check() is None
    trained = torch.load(path, weights_only=True)["state_dict"]
    backbone = cli.model.network.backbone
    assert torch.equal(backbone.conv1.weight, trained["network.backbone.conv1.weight"])
    assert not torch.equal(backbone.fc.weight, trained["network.backbone.fc.weight"])
    assert cli.model.network.origin.classes == tuple(WNIDS)


def test_a_run_does_not_resume_on_other_classes_or_another_normalisation(tmp_path):
    base = ["--output", str(tmp_path), "--model.network", NET, *TRAINING]
    cli = TrainCLI.parse(base)
    cli.model.take_classes(None)
    cli.model.classes = cli.model.class_names = [*WNIDS[1:], WNIDS[0]]
    recorded: dict = {}
    cli.model.on_save_checkpoint(recorded)
    cli.datamodule.setup("fit")
    cli.model.take_classes(cli.datamodule)
    with pytest.raises(ValueError, match=r"resume: the checkpoint and the data have other classes: output 0"):
        cli.model.on_load_checkpoint(recorded)
    recorded["advinterp"]["classes"] = recorded["advinterp"]["class_names"] = WNIDS
    cli.model.on_load_checkpoint(recorded)
