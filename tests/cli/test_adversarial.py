"""The command that writes sets of adversarial images."""

import re

import pytest
import torch

from lightning_advinterp.analyses.base.adversarial_plan import plan_set
from lightning_advinterp.analyses.base.adversarial_trial import estimate_set
from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
from lightning_advinterp.attacks import fgsm
from lightning_advinterp.cli.adversarial import main
from lightning_advinterp.data.adversarial_set import AdversarialSet
from lightning_advinterp.data.concept_world import ConceptWorld
from lightning_advinterp.networks import create_network


@pytest.fixture
def flags(tmp_path):
    torch.manual_seed(0)
    torch.save(create_network("cifar_resnet20", num_classes=12).backbone.state_dict(), tmp_path / "net.pth")
    attack = "{type: fgsm, eps: 16/255}"
    network = ["--network", "cifar_resnet20", "--weights", str(tmp_path / "net.pth"), "--data", "concept_world"]
    return [*network, "--limit", "5", "--targets", "2", "--part", "4", "--attack", attack]


def test_it_writes_goes_on_and_verifies(flags, tmp_path, capsys):
    single, shared = str(tmp_path / "whole"), str(tmp_path / "shared")
    main([*flags, "--output", single])
    assert "10 adversarial images" in " ".join(capsys.readouterr().out.split())
    for process in ("1", "0"):  # two processes, one after the other
        main([*flags, "--output", shared, "--process", process, "--processes", "2"])
    expected, two = AdversarialSet(single), AdversarialSet(shared)
    assert expected.rows == two.rows
    assert all(torch.equal(expected[place].image, two[place].image) for place in range(10))
    damaged = tmp_path / "whole" / "part-00001.zip"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(bytes(content))
    with pytest.raises(SystemExit) as stopped:
        main([*flags, "--output", single])
    assert stopped.value.code == 1
    assert re.search(r"error: part-00001\.zip in .* remove it and start again", capsys.readouterr().err)
    damaged.unlink()
    main([*flags, "--output", single])
    assert AdversarialSet(single).verify() == []


def test_a_dry_run_says_what_the_missing_images_take(flags, tmp_path, capsys):
    """Nothing is written."""
    folder = tmp_path / "set"
    main([*flags, "--output", str(folder), "--dry_run"])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{folder}: 10 of 10 adversarial images are missing expected: 0:00:0" in printed
    assert not folder.exists()
    main([*flags, "--output", str(folder), "--process", "0", "--processes", "2"])
    parts = sorted(folder.glob("part-*"))
    capsys.readouterr()
    main([*flags, "--output", str(folder), "--dry_run"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 of 10 adversarial images are missing" in printed
    assert sorted(folder.glob("part-*")) == parts
    with pytest.raises(SystemExit):
        main([*flags, "--output", str(folder), "--dry_run", "--targets", "3"])
    assert "holds another adversarial set" in capsys.readouterr().err


def test_the_disk_of_a_set_is_foretold(flags, tmp_path):
    """A few images stand for all."""
    source, attack = ConceptWorld("test", 40, size=32), fgsm("8/255")
    plan = plan_set(
        create_network("cifar_resnet20", num_classes=12).eval(),
        source,
        attack,
        1,
        None,
        8,
        512,
        "uint8",
        "cpu",
        0,
        None,
    )
    total, tried = estimate_set(plan, 40, 60)
    make_adversarial_set(plan.formats.network, source, attack, tmp_path / "set", targets=1, batch_size=8)
    size = sum(path.stat().st_size for path in (tmp_path / "set").iterdir())
    assert tried
    assert total.files == pytest.approx(size, rel=0.15)
    assert 0 < total.seconds < 60
    by_passes, tried = estimate_set(plan, 40, 1e-6)
    assert not tried
    assert 0 < by_passes.seconds < 60


@pytest.mark.slow
def test_a_limit_is_not_cut_short(flags, tmp_path):
    """A thousand pictures of the concept world are the default, not the most there are."""
    limit, more = flags.index("--limit") + 1, ["--targets", "1", "--part", "600", "--attack", "{type: random_sign}"]
    main([*flags[:limit], "1001", *flags[limit + 1 :], *more, "--output", str(tmp_path / "set")])
    assert len(AdversarialSet(tmp_path / "set")) == 1001


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--process", "2", "--processes", "2"], "process must be 0 to 1"),
        (["--target", "3"], "did you mean"),
        (["--weights", "absent.pth"], "absent.pth"),
    ],
)
def test_wrong_flags_are_refused(flags, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit):
        main([*flags, *more, "--output", str(tmp_path / "set")])
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--targets", "13"], "targets must be between 1 and the 12 classes to choose among, got 13"),
        (["--limit", "0"], "limit must be 1 or more images, got 0"),
        (["--seed", "1"], "holds another adversarial set"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(flags, tmp_path, capsys, more, message):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"of": "another set"}')
    with pytest.raises(SystemExit) as stop:
        main([*flags, *more, "--output", str(folder)])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_a_file_that_cannot_be_written_stops_it_with_one_line(flags, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_advinterp.data.adversarial_set.write_atomically", full)
    with pytest.raises(SystemExit) as stop:
        main([*flags, "--output", str(tmp_path / "set")])
    assert stop.value.code == 1
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "warned"), [([], True), (["--least_success", "0"], False)])
def test_a_set_that_reaches_nothing_is_warned_of(flags, tmp_path, capsys, caplog, more, warned):
    main([*flags, *more, "--attack", "{type: fgsm, eps: 0.001/255}", "--output", str(tmp_path / "set")])
    assert "0.0 % reach their goal" in " ".join(capsys.readouterr().out.split())
    assert ("0.0 % of 10 images reach their goal, less than least_success" in caplog.text) == warned


def test_an_attacks_own_target_is_used(flags, tmp_path):
    place = flags.index("--targets")
    flags = [*flags[:place], *flags[place + 2 :]]
    main([*flags, "--attack", "{type: fgsm, eps: 16/255, target: 5}", "--output", str(tmp_path / "set")])
    assert {row.target for row in AdversarialSet(tmp_path / "set").rows} == {5}
