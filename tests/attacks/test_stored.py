"""Stored images: those of a set are what the live attack makes, and what does not belong to the data is refused."""

import pytest
import torch
from helpers import Memory, small_batch, small_network
from PIL import Image
from processes import on_processes, stored_on_a_share

from lightning_advinterp.analyses import AccuracyAnalysis, DistancesAnalysis, PredictionsAnalysis, Runner
from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
from lightning_advinterp.analyses.base.shared_images import shared_images
from lightning_advinterp.attacks import AttackConfig, create_attack, sample_keys
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.metrics.semantics import ClassSpace

COUNT, SEED = 9, 3
LIVE = {
    "untargeted": AttackConfig("pgd", "32/255", steps=3),
    "predicted": AttackConfig("fgsm", 0.5, label="predicted"),
    "least_likely": AttackConfig("pgd", 0.9, steps=5, target="least_likely"),
    "random": AttackConfig("pgd", "32/255", steps=3, target="random"),
    "class": AttackConfig("bim", 0.9, steps=9, step_size=0.1, target=2),
    "apgd": AttackConfig("apgd", "32/255", steps=3),
    "l2": AttackConfig("pgd", 1.5, norm="l2", steps=3),
}


def data_of(n=COUNT):
    return Memory(small_batch(n=n))


def make(folder, attack, data, *, targets=None, pixels="float32", network=None, **options):
    network = network or small_network()
    return make_adversarial_set(
        network, data, attack, folder, targets=targets, pixels=pixels, seed=SEED, batch_size=4, part=4, **options
    )


def stored(folder, **settings):
    return create_attack({"type": "stored", "path": str(folder), **settings})


def results(attack, data, network=None):
    classes = ClassSpace(tuple(range(5)), tuple("abcde"), torch.eye(5), torch.eye(5, dtype=torch.float64))
    attacks = {"same": attack}
    runner = Runner(network or small_network(), data, attacks=attacks, batch_size=4, seed=SEED)
    analyses = [
        AccuracyAnalysis(runner.attacks), PredictionsAnalysis(attacks),
        DistancesAnalysis(runner.attacks, classes=classes, layer="relu2"),
    ]  # fmt: skip
    outcomes = runner.run(analyses)
    return {name: result.tables for name, result in outcomes.items()}


@pytest.mark.parametrize("config", LIVE.values(), ids=LIVE)
def test_a_set_gives_exactly_what_the_attack_gives(tmp_path, config):
    data, live = data_of(), create_attack(config)
    make(tmp_path, live, data)
    expected, stored_tables = results(live, data), results(stored(tmp_path), data)
    for tables in (expected, stored_tables):  # how the target was chosen is the one thing that a set does not say
        for row in tables["accuracy"]["accuracy"]:
            row.pop("target", None)
    assert repr(stored_tables) == repr(expected)
    assert (
        stored_tables["accuracy"]["accuracy"][1]["linf"] > 0 or config.type == "apgd"
    )  # which leaves alone what is wrong


def test_png_rounds_to_eight_bits(tmp_path):
    data, live = data_of(), create_attack(LIVE["untargeted"])
    make(tmp_path, live, data, pixels="uint8")
    batch = data.batch
    x_adv = live(small_network(), batch.image, batch.label, keys=sample_keys(batch.index, seed=SEED))
    attack = stored(tmp_path).for_images(data).on(batch.index)
    assert torch.equal(attack(small_network(), batch.image, batch.label), x_adv.mul(255).round().to(torch.uint8) / 255)


def test_success_targets_and_distances_come_from_the_rows(tmp_path):
    data, network = data_of(), small_network()
    adversarial_set = make(tmp_path, create_attack(LIVE["least_likely"]), data, targets=1)
    batch = data.batch
    result = stored(tmp_path).for_images(data).on(batch.index).run(network, batch.image, batch.label)
    rows = adversarial_set.rows
    assert result.target.tolist() == [row.target for row in rows]
    assert result.success.tolist() == [row.success for row in rows]
    assert result.l2.tolist() == pytest.approx([row.l2 for row in rows], rel=1e-6)


@pytest.mark.parametrize("order", [[8, 0, 3], [5]])
def test_images_are_looked_up_by_number_whatever_the_batch(tmp_path, order):
    data = data_of()
    make(tmp_path, create_attack(LIVE["untargeted"]), data)
    attack, batch, network = stored(tmp_path).for_images(data), data.batch, small_network()
    x_adv = attack.on(batch.index)(network, batch.image, batch.label)
    part = attack.on(batch.index[order])(network, batch.image[order], batch.label[order])
    assert torch.equal(part, x_adv[order])


def test_of_several_targets_one_is_chosen(tmp_path):
    data = data_of()
    adversarial_set = make(tmp_path, create_attack(LIVE["least_likely"]), data, targets=3)
    with pytest.raises(ValueError, match=r"holds 3 adversarial images of one image.*target_rank: 1 .* to 3"):
        stored(tmp_path).for_images(data)
    with pytest.raises(ValueError, match="target_rank must be 1 to 3"):
        stored(tmp_path, target_rank=4).for_images(data)
    batch = data.batch
    second = stored(tmp_path, target_rank=2).for_images(data).on(batch.index)
    expected = torch.stack([adversarial_set[3 * place + 1].image for place in range(COUNT)])
    assert torch.equal(second(small_network(), batch.image, batch.label), expected)


def test_missing_images_are_named_and_counted(tmp_path):
    data = data_of()
    make(tmp_path, create_attack(LIVE["untargeted"]), data)
    (tmp_path / "part-00001.json").unlink()
    with pytest.raises(ValueError, match=r"no adversarial image of 4 of the 9 .*: '44', '45', '46', '47'; .*drop"):
        stored(tmp_path).for_images(data)
    attack = stored(tmp_path, missing="drop")
    fewer = shared_images([attack], data)
    assert len(fewer) == 5
    rows = results(attack, fewer)["accuracy"]["accuracy"]
    assert [row["n"] for row in rows] == [5, 5]
    with pytest.raises(ValueError, match="give the data that they were made of"):
        shared_images([stored(tmp_path, missing="drop")], Other(data))


class Other(Memory):
    """Images of other numbers."""

    def __init__(self, data):
        super().__init__(data.batch._replace(index=data.batch.index + 100))


def changed(**fields):
    batch = small_batch(n=COUNT)
    return Memory(batch._replace(**{name: change(getattr(batch, name)) for name, change in fields.items()}))


def with_labels(data):
    data.labels = data.batch.label.tolist()
    return data


OTHERS = {
    "other pixels": (lambda: changed(image=lambda x: x.flip(0)), "a set of other images.*is recorded"),
    "another crop": (lambda: changed(image=lambda x: x.roll(3, dims=2)), "or of images prepared otherwise"),
    "another size": (lambda: changed(image=lambda x: x[..., :12, :12]), "16 x 16 pixels, and the network sees 12 x 12"),
    "other labels": (
        lambda: with_labels(changed(label=lambda y: (y + 1) % 5)),
        "'40' has the label ., and . in",
    ),
}


@pytest.mark.parametrize(("make_images", "message"), OTHERS.values(), ids=OTHERS)
def test_another_data_set_is_refused_before_any_work(tmp_path, make_images, message):
    make(tmp_path, create_attack(LIVE["untargeted"]), data_of(), pixels="uint8")
    with pytest.raises(ValueError, match=message):
        stored(tmp_path).for_images(make_images())


def test_an_image_that_no_sample_looked_at_is_held_against_its_source_when_it_is_shown(tmp_path):
    data = data_of()
    make(tmp_path, create_attack(LIVE["untargeted"]), data)
    attack = stored(tmp_path).for_images(data).on(data.batch.index)
    with pytest.raises(RunStoppedError, match="a set of other images"):
        attack(small_network(), data.batch.image.flip(0), data.batch.label)


def test_damage_and_contradictions_are_refused(tmp_path):
    data = data_of()
    make(tmp_path, create_attack(LIVE["untargeted"]), data)
    for settings in ({"label": "predicted"}, {"target": 1}, {"eps": "4/255"}):
        with pytest.raises(ValueError, match=f"{next(iter(settings))}: the set .* says this of itself"):
            stored(tmp_path, **settings).for_images(data)
    content = bytearray((tmp_path / "part-00000.zip").read_bytes())
    content[200] ^= 1
    (tmp_path / "part-00000.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"part-00000\.zip is not what was written"):
        stored(tmp_path).for_images(data)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        stored(tmp_path / "absent").for_images(data)
    with pytest.raises(ValueError, match="must be told which images it is shown"):
        stored(tmp_path)(small_network(), data.batch.image, data.batch.label)
    with pytest.raises(ValueError, match="give a stored attack the folder"):
        AttackConfig("stored")


def test_it_says_for_whom_the_images_were_made(tmp_path):
    data, network = data_of(), small_network()
    make(tmp_path / "own", create_attack(LIVE["untargeted"]), data)
    attack = stored(tmp_path / "own").for_images(data)
    assert attack.made_for(network)["made_for"] == "this network"
    assert attack.made_for(small_network(seed=1))["made_for"] == "another network"
    assert (attack.eps, attack.eps_norm, attack.iterations, attack.targeted) == (32 / 255, "linf", 3, False)
    assert create_attack("fgsm").made_for(network) == {"made_for": "this network"}


# plain folders


class Named(Memory):
    """Images with the names of files."""

    def __init__(self, names):
        batch = small_batch(n=len(names))
        super().__init__(batch._replace(index=batch.index - 40))
        self.names = names

    def path_of(self, index):
        return self.names[index]


def write(folder, name, pixels):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)


def test_a_plain_folder_bears_the_images_names(tmp_path):
    data = Named(["a/x.jpg", "a/x.png", "b/y.JPEG"])
    moved = (data.batch.image + 8 / 255).clamp(0, 1)
    for name, pixels in zip(["a/x.jpg.png", "a/x.png", "b/y.png"], moved, strict=True):
        write(tmp_path, name, pixels)
    attack = stored(tmp_path).for_images(data)
    assert attack.made_for(small_network())["made_for"] == "unknown"
    result = attack.on(data.batch.index).run(small_network(), data.batch.image, data.batch.label)
    assert torch.allclose(result.x_adv, moved, atol=0.5 / 255 + 1e-6)
    predicted = small_network()(result.x_adv).argmax(1)
    assert result.success.tolist() == (predicted != data.batch.label).tolist()
    (tmp_path / "a/x.jpg.png").unlink()
    with pytest.raises(ValueError, match=r"would be the adversarial image of 'a/x.jpg' and of 'a/x.png'"):
        stored(tmp_path).for_images(data)
    (tmp_path / "a/x.png").unlink()
    with pytest.raises(ValueError, match=r"no adversarial image of 2 of the 3 images: 'a/x.jpg', 'a/x.png'"):
        stored(tmp_path).for_images(data)


def test_other_images_of_the_same_numbers_have_their_own(tmp_path):
    """An attack that was opened for one data set, and is shown another, such as files beside it."""
    data, swapped_data = Named(["x.jpg", "y.jpg"]), Named(["y.jpg", "x.jpg"])
    for name, pixels in zip(("x.png", "y.png"), (0.25, 0.75), strict=True):
        write(tmp_path, name, torch.full_like(data.batch.image[0], pixels))
    opened = stored(tmp_path).for_images(data)
    assert opened.for_images(data) is opened
    shown = [
        attack.on(data.batch.index)(small_network(), data.batch.image, data.batch.label).mean((1, 2, 3)).tolist()
        for attack in (opened, opened.for_images(swapped_data))
    ]
    assert shown[0] == pytest.approx([0.25, 0.75], abs=0.01)
    assert shown[1] == pytest.approx([0.75, 0.25], abs=0.01)
    with pytest.raises(ValueError, match=r"no adversarial image of 1 of the 1 images: 'z.jpg'"):
        opened.for_images(Named(["z.jpg"]))


def test_a_plain_folder_is_held_against_what_is_said_of_it(tmp_path):
    data = Named(["x.jpg"])
    write(tmp_path, "x.png", (data.batch.image[0] + 8 / 255).clamp(0, 1))
    aimed = stored(tmp_path, target=2, eps="9/255").for_images(data).on(data.batch.index)
    assert (aimed.targeted, aimed.eps) == (True, 9 / 255)
    aimed(small_network(), data.batch.image, data.batch.label)
    small = stored(tmp_path, eps="4/255").for_images(data).on(data.batch.index)
    with pytest.raises(RunStoppedError, match="more than the stated eps"):
        small(small_network(), data.batch.image, data.batch.label)
    write(tmp_path, "x.png", data.batch.image[0][:, :8, :8])
    with pytest.raises(ValueError, match="8 x 8 pixels, and the network sees 16 x 16"):
        stored(tmp_path).for_images(data)


def test_names_never_lead_out_of_the_folder(tmp_path):
    data = Named(["../x.jpg"])
    write(tmp_path, "x.png", data.batch.image[0])
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no adversarial image of 1 of the 1"):
        stored(tmp_path / "in").for_images(data)


@pytest.mark.slow
def test_two_processes_report_what_one_reports(tmp_path):
    make(tmp_path, create_attack(LIVE["untargeted"]), data_of())
    expected = stored_on_a_share(0, 1, COUNT, str(tmp_path))
    assert on_processes(stored_on_a_share, 2, COUNT, str(tmp_path)) == [expected, expected]
