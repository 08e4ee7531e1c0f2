"""evaluate() as a notebook calls it: modules, loaders, comparisons, tables and figures."""

import copy

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from helpers import SmallBackbone
from matplotlib.figure import Figure
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import lightning_advinterp
from lightning_advinterp import Results, create_attack, evaluate, fgsm, load_results
from lightning_advinterp.data.user_images import as_image_set

QUIET = {"quiet": True, "attack": "fgsm"}


def pairs(count=12):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 16, 16, generator=generator)
    return TensorDataset(images, torch.arange(count) % 4)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return [SmallBackbone(num_classes=4) for _ in range(3)]


@pytest.fixture(scope="module")
def compared(networks, tmp_path_factory):
    first, second, third = networks
    folder = tmp_path_factory.mktemp("compared")
    data = DataLoader(pairs(), batch_size=5, shuffle=True)
    beside = [{"robust": second}, {"network": third, "mean": "half"}]
    return evaluate(first, data, title="standard", compare=beside, output=str(folder / "out"), **QUIET)


def test_modules_are_compared(compared, networks, tmp_path):
    titles = list(compared.networks)
    assert titles[:2] == ["standard", "robust"]
    assert len(titles) == 3
    alone = evaluate(networks[1], pairs(), output=str(tmp_path / "alone"), **QUIET)
    assert compared.networks["robust"]["accuracy"].tables == alone["accuracy"].tables
    frame = compared.frame("accuracy")
    assert list(frame["network"].unique()) == titles
    assert list(frame[frame.network == "standard"]["top1"]) == [
        row["top1"] for row in compared["accuracy"].tables["accuracy"]
    ]
    assert "robust" in compared.page.read_text(encoding="utf-8")
    again = evaluate(networks[1], pairs(), compare=compared, output=tmp_path / "again", **QUIET)
    assert len(again.networks) == 4
    assert again.networks["standard"]["accuracy"].tables == compared["accuracy"].tables
    assert load_results(tmp_path / "again").networks.keys() == again.networks.keys()


def test_a_notebook_shows_tables_and_figures(compared):
    result = compared["accuracy"]
    assert result.frame().equals(pd.DataFrame(result.tables["accuracy"]).convert_dtypes())
    assert len(result._repr_html_().split("<tr>")) == 1 + 1 + len(result.tables["accuracy"])
    figures = compared.figures()
    assert isinstance(figures["accuracy"], Figure)
    assert result.figures()["accuracy"]._repr_png_().startswith(b"\x89PNG")
    assert "data:image/png" in result.figures()._repr_html_()
    assert figures._repr_html_().count("data:image/png;base64,") == len(figures) == 1
    assert load_results(compared.folder)["accuracy"].figures().keys() == figures.keys()
    assert repr(result).startswith("<Result accuracy: accuracy (2 rows,")
    with pytest.raises(ValueError, match="no table 'acuracy'; there are accuracy"):
        compared.frame("acuracy")


def test_what_is_written_by_others_is_no_markup(compared):
    results = Results(compared, "<script>")
    assert "<script>" not in results._repr_html_()


def test_names_may_be_told(networks, tmp_path):
    semantics = {"analyses": ["semantics"], "layers": "last", "output": str(tmp_path / "out")}
    with pytest.raises(ValueError, match="or classes, their names in order"):
        evaluate(networks[0], pairs(), **semantics, **QUIET)
    names = ["n02123045 tabby", "n02099712 Labrador", "n03599486 rickshaw", "n04146614 bus"]
    results = evaluate(networks[0], pairs(), classes=names, semantics={"share": 0.5}, **semantics, **QUIET)
    meant = {row["mode_class"] for row in results["semantics"].tables["semantics"]} - {None}
    assert meant
    assert meant <= {"tabby", "Labrador", "rickshaw", "bus"}
    for wrong in (names[:3], [*names[:3], names[0]]):
        with pytest.raises(ValueError, match="classes: "):
            evaluate(networks[0], pairs(), classes=wrong, **semantics, **QUIET)


class Pairs(pl.LightningDataModule):
    def val_dataloader(self):
        return DataLoader(pairs(8), batch_size=4)


def test_loaders_and_data_modules_stand_for_their_images(networks, tmp_path):
    direct = evaluate(networks[0], pairs(8), output=str(tmp_path / "a"), **QUIET)
    module = evaluate(networks[0], Pairs(), output=str(tmp_path / "b"), **QUIET)
    assert module["accuracy"].tables == direct["accuracy"].tables
    data = pairs(8)
    chosen = as_image_set(DataLoader(data, batch_size=2, sampler=SubsetRandomSampler([5, 1])))
    assert list(chosen.indices) == list(as_image_set(Subset(data, [1, 5])).indices) == [1, 5]
    batches = BatchSampler(SubsetRandomSampler([5, 1]), 2, drop_last=False)
    assert list(as_image_set(DataLoader(data, batch_sampler=batches)).indices) == [1, 5]
    for sampler in (RandomSampler(data, replacement=True), WeightedRandomSampler([1.0] * 8, 8)):
        with pytest.raises(TypeError, match=r"may choose some images only, or twice"):
            as_image_set(DataLoader(data, sampler=sampler))
    with pytest.raises(TypeError, match=r"collate_fn .* may change its images"):
        as_image_set(DataLoader(data, collate_fn=lambda items: items))


def test_slips_are_refused_in_words(networks, tmp_path):
    output = {"output": str(tmp_path / "out"), **QUIET}
    with pytest.raises(TypeError, match=r"no flag and no question 'atack'\. Did you mean attack\?"):
        evaluate(networks[0], pairs(), atack="fgsm")
    with pytest.raises(TypeError, match=r"network must be a torch\.nn.Module or the name"):
        evaluate(networks[0].state_dict(), pairs(), **output)
    with pytest.raises(ValueError, match="title='x' names a module"):
        evaluate("resnet18", pairs(), title="x", **output)
    with pytest.raises(TypeError, match="'robust' must be a module, got builtins"):
        evaluate(networks[0], pairs(), compare={"robust": "resnet18"}, **output)
    with pytest.raises(TypeError, match="compare must be modules"):
        evaluate(networks[0], pairs(), compare=[3], **output)
    with pytest.raises(ValueError, match="outputs of the network, 0 to 2"):
        evaluate(networks[0], pairs(), compare=SmallBackbone(num_classes=3), **output)
    with pytest.raises(TypeError, match="semantics has no setting 'shaer'; did you mean share"):
        evaluate(networks[0], pairs(), semantics={"shaer": 0.5}, **output)
    with pytest.raises(TypeError, match="limit must be int or None, got '5'"):
        evaluate(networks[0], pairs(), limit="5", **output)
    with pytest.raises(ValueError, match=r"got 'acuracy' \(did you mean accuracy\?"):
        evaluate(networks[0], pairs(), analyses="acuracy", **output)
    with pytest.raises(FileNotFoundError, match="checkpoint: no file"):
        evaluate(tmp_path / "last.ckpt", pairs(), **output)
    assert not (tmp_path / "out").exists()


def test_attacks_may_be_objects(networks, tmp_path):
    said = {
        "quiet": True,
        "output": str(tmp_path / "a"),
        "attack": [{"type": "pgd", "steps": 2, "name": "two"}, "fgsm"],
    }
    built = said | {"attack": {"two": create_attack("pgd", steps=2), "fgsm": fgsm()}, "output": str(tmp_path / "b")}
    results = [evaluate(networks[0], pairs(), **settings) for settings in (said, built)]
    assert results[0]["accuracy"].tables == results[1]["accuracy"].tables
    assert list(results[0].frame("accuracy").images) == ["real", "two", "fgsm"]
    bare = type(fgsm()).__new__(type(fgsm()))
    with pytest.raises(TypeError, match="was built without settings"):
        evaluate(networks[0], pairs(), attack=bare, quiet=True)


def test_tensors_are_a_data_set(networks, tmp_path):
    """Also ones that want gradients, as those that an attack was tried on."""
    images, labels = pairs(6).tensors
    direct = evaluate(networks[0], TensorDataset(images, labels), output=str(tmp_path / "a"), **QUIET)
    pair = evaluate(networks[0], (images.clone().requires_grad_(), labels), output=str(tmp_path / "b"), **QUIET)
    assert pair["accuracy"].tables == direct["accuracy"].tables


def test_the_interface_is_found_by_its_names():
    assert {"evaluate", "pgd", "RobustClassifier"} <= set(dir(lightning_advinterp))
    assert all(getattr(lightning_advinterp, name) is not None for name in lightning_advinterp.__all__)
    with pytest.raises(AttributeError, match="did you mean evaluate"):
        getattr(lightning_advinterp, "evalute")  # noqa: B009


def test_quiet_prints_nothing(networks, tmp_path, capfd):
    evaluate(copy.deepcopy(networks[0]), pairs(), output=str(tmp_path / "out"), **QUIET)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
