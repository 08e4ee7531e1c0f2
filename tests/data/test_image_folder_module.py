import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pictures import MakeFolder, picture
from pytorch_lightning.callbacks import ModelCheckpoint
from recorder import Recorder, SaveSeen

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.data.transforms import EvalTransform
from lightning_advinterp.datamodules import ImageFolderDataModule
from lightning_advinterp.training.module import RobustClassifier


def module(root: Path, **kwargs) -> ImageFolderDataModule:
    settings = {"image_size": 28, "batch_size": 4, "num_workers": 0, **kwargs}
    return ImageFolderDataModule(root, **settings)


def fit(data: ImageFolderDataModule, epochs: int, resume: Path | None = None, **kwargs) -> Recorder:
    model = Recorder()
    settings = {"enable_checkpointing": False, "callbacks": None, **kwargs}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=pl.utilities.warnings.PossibleUserWarning)
        # Lightning 2.6.6 asks for torch's old leaf type (deprecated since torch 2.13)
        warnings.filterwarnings("ignore", ".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", "Checkpoint directory", category=UserWarning)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=None if resume is None else False)
    return model


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(split_folder: Path, workers: int):
    data = module(split_folder, num_workers=workers)
    data.setup("fit")
    train = list(data.train_dataloader())
    assert [len(batch.label) for batch in train] == [4, 4, 4]
    assert sorted(torch.cat([batch.index for batch in train]).tolist()) == list(range(12))
    assert train[0].image.shape == (4, 3, 28, 28)
    assert train[0].image.dtype == torch.uint8
    val = list(data.val_dataloader())
    assert [batch.index.tolist() for batch in val] == [[0, 1, 2, 3], [4, 5]]
    assert torch.cat([batch.label for batch in val]).tolist() == [0, 0, 0, 1, 1, 1]


def test_names_are_known_before_setup(split_folder: Path):
    data = module(split_folder)
    assert (data.classes, data.class_names, data.num_classes) == (["cat", "dog"], ["cat", "dog"], 2)
    assert module(split_folder, num_classes=7).num_classes == 7
    assert data.image_size == 28


def test_imagenet_labels(make_folder: MakeFolder):
    names = [f"{split}/{wnid}/1.jpg" for split in ("train", "val") for wnid in ("n01443537", "n15075141")]
    data = module(make_folder(*names), num_classes=1000)
    data.setup()
    assert data.val_dataset.labels == [1, 999]
    assert len(data.classes) == len(data.class_names) == data.num_classes == 1000
    assert data.class_names[999] == "toilet tissue"


def test_default_resize_follows_the_image_size(split_folder: Path):
    for size, resize in ((224, 256), (64, 73), (299, 342)):
        data = module(split_folder, image_size=size)
        data.setup("validate")
        assert repr(data.val_dataset.transform) == repr(EvalTransform(resize, size))


def test_validation_images_are_torchvisions(split_folder: Path):
    data = module(split_folder, resize=32)
    data.setup("validate")
    assert data.train_dataset is None
    from torchvision.transforms import v2

    reference = v2.Compose([v2.Resize(32, antialias=True), v2.CenterCrop(28), v2.PILToTensor()])
    from PIL import Image

    with Image.open(split_folder / "val/cat/0.jpg") as image:
        assert torch.equal(data.val_dataset[0].image, reference(image.convert("RGB")))


def test_without_augmentation_training_images_are_fixed(split_folder: Path):
    data = module(split_folder, augment=False)
    data.setup("fit")
    first = data.train_dataset[0].image
    data.train_dataset.set_epoch(1)
    assert torch.equal(first, data.train_dataset[0].image)


def test_a_flat_folder_gives_a_stratified_share_for_validation(make_folder: MakeFolder):
    root = make_folder(*[f"{name}/{i}.jpg" for name in "ab" for i in range(10)])
    data = module(root, val_share=0.2, seed=5)
    data.setup("fit")
    train, val = data.train_dataset, data.val_dataset
    assert val.labels == [0, 0, 1, 1]
    assert sorted(train.indices + val.indices) == list(range(20))
    again = module(root, val_share=0.2, seed=5)
    again.setup("validate")
    assert again.val_dataset.indices == val.indices
    assert isinstance(val.transform, EvalTransform)


def test_validation_from_training_images_leaves_val_untouched(split_folder: Path):
    data = module(split_folder, val_share=0.3, val_from_train=True, seed=2)
    data.setup("fit")
    train, val = set(data.train_dataset.paths), set(data.val_dataset.paths)
    assert train.isdisjoint(val)
    assert all(path.startswith("train/") for path in train | val)
    unsplit = module(split_folder)
    unsplit.setup("fit")
    assert train | val == set(unsplit.train_dataset.paths)


def test_train_and_test_without_val(make_folder: MakeFolder):
    root = make_folder(*[f"train/a/{i}.jpg" for i in range(10)], "test/a/1.jpg", "test/a/2.jpg")
    data = module(root)
    data.setup()
    assert [len(d) for d in (data.train_dataset, data.val_dataset, data.test_dataset)] == [9, 1, 2]
    assert next(iter(data.test_dataloader())).index.tolist() == [0, 1]


def test_limits(split_folder: Path):
    data = module(split_folder, limit_train=5, limit_val=2, seed=2)
    data.setup("fit")
    assert len(data.train_dataset) == 5
    assert data.val_dataset.labels == [0, 1]
    same = module(split_folder, limit_train=5, limit_val=2, seed=2)
    same.setup("fit")
    assert same.train_dataset.paths == data.train_dataset.paths


def test_a_lone_small_batch_is_kept(split_folder: Path):
    data = module(split_folder, batch_size=100)
    data.setup("fit")
    assert [len(batch.label) for batch in data.train_dataloader()] == [12]
    data = module(split_folder, batch_size=5)
    data.setup("fit")
    assert [len(batch.label) for batch in data.train_dataloader()] == [5, 5]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": -2}, "num_workers must be 'auto' or an integer"),
        ({"resize": 20}, "crop must be at most resize .*crop=28 and resize=20"),
        ({"train_scale": (0.0, 1.0)}, "scale must be shares of the area"),
    ],
)
def test_bad_arguments(split_folder: Path, kwargs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        module(split_folder, **kwargs)


def test_bad_data(make_folder: MakeFolder, split_folder: Path):
    with pytest.raises(ValueError, match="class 'dog' has label 1, but the network has 1 outputs"):
        module(split_folder, num_classes=1).setup()
    with pytest.raises(ValueError, match="limit must be at least 1"):
        module(split_folder, limit_train=0).setup()
    with pytest.raises(FileNotFoundError, match="found nothing at"):
        module(split_folder / "absent").setup()
    flat = make_folder("1.jpg", "2.jpg", root="flat")
    with pytest.raises(ValueError, match="must lie in class folders, found 2 images without labels"):
        module(flat).setup("fit")
    with pytest.raises(ValueError, match="found only images without labels"):
        _ = module(flat).classes
    single = make_folder("a/1.jpg", "b/1.jpg", root="single")
    with pytest.raises(ValueError, match="none of the 2 classes has two images"):
        module(single).setup("fit")


def test_missing_splits(make_folder: MakeFolder, split_folder: Path):
    data = module(split_folder)
    with pytest.raises(ValueError, match="ImageFolderDataModule has no 'train' data: call setup"):
        data.train_dataloader()
    data.setup()
    with pytest.raises(ValueError, match=r"no 'test' data: .* has the splits train, val; add the folder test/"):
        data.test_dataloader()
    only_val = module(make_folder("val/a/1.jpg", root="only"))
    only_val.setup("fit")
    with pytest.raises(ValueError, match=r"no 'train' data: .* has the splits val; add the folder train/"):
        only_val.train_dataloader()


def test_skipped_images_are_reported_at_the_end(split_folder: Path):
    (split_folder / "val/cat/1.jpg").write_bytes(b"")
    data = module(split_folder, on_bad_image="skip")
    data.setup("validate")
    assert [batch.index.tolist() for batch in data.val_dataloader()] == [[0, 2, 3], [4, 5]]
    with pytest.warns(UserWarning, match=r"skipped 1 of 6 images .*split 'val'.*: val/cat/1.jpg"):
        data.teardown("validate")


def test_skipped_training_images_are_reported_once(split_folder: Path):
    (split_folder / "train/cat/1.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"skipped 1 of 12 images") as caught:
        fit(module(split_folder, on_bad_image="skip"), 3)
    assert sum("skipped" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_augmentation_of_a_run_are_reproducible(split_folder: Path, workers: int):
    first = fit(module(split_folder, seed=1), 3).seen
    torch.manual_seed(5)
    second = fit(module(split_folder, seed=1, num_workers=workers), 3).seen
    assert first == second
    assert list(first) == [0, 1, 2]
    orders = [[index for batch, _ in first[epoch] for index in batch] for epoch in first]
    assert [sorted(order) for order in orders] == [list(range(12))] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert fit(module(split_folder, seed=2), 1).seen[0] != first[0]


@pytest.mark.parametrize("at_validation_end", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_continues_with_the_next_epoch(
    split_folder: Path, tmp_path: Path, at_validation_end: bool, workers: int
):
    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=not at_validation_end)

    uninterrupted = fit(module(split_folder), 4).seen
    fit(module(split_folder), 2, callbacks=[checkpoint()], enable_checkpointing=True)
    rest = fit(
        module(split_folder, num_workers=workers),
        4,
        resume=tmp_path / "last.ckpt",
        callbacks=[checkpoint()],
        enable_checkpointing=True,
    ).seen
    assert rest == {2: uninterrupted[2], 3: uninterrupted[3]}


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_see_the_same_batches_as_one(split_folder: Path, tmp_path: Path):
    fit(module(split_folder, batch_size=2), 2, strategy="ddp_spawn", devices=2, callbacks=[SaveSeen(tmp_path)])
    ranks = [torch.load(tmp_path / f"seen{rank}.pt") for rank in range(2)]
    alone = fit(module(split_folder, batch_size=4), 2).seen
    for epoch in (0, 1):
        shares = zip(ranks[0][epoch], ranks[1][epoch], strict=True)
        together = [(sorted(a[0] + b[0]), a[1] + b[1]) for a, b in shares]
        assert together == [(sorted(index), pixels) for index, pixels in alone[epoch]]


def test_class_folders_with_odd_names(tmp_path: Path):
    for name in ("ein Käfer", "a,b", "x'y"):
        (tmp_path / name).mkdir()
        for i in range(2):
            picture(i).save(tmp_path / name / f"{i}.jpg")
    data = module(tmp_path, val_share=0.5)
    data.setup()
    assert data.classes == ["a,b", "ein Käfer", "x'y"]
    assert len(list(data.train_dataloader())) == 1


def test_one_class_folder_is_no_classification(make_folder: MakeFolder):
    with pytest.raises(ValueError, match=r"holds one class folder \(cat\), and a classifier needs two classes or more"):
        _ = module(make_folder("cat/1.jpg", "cat/2.jpg")).num_classes
    with pytest.raises(ValueError, match="num_classes must be 2 or more"):
        RobustClassifier("cifar_resnet20", num_classes=1)


@pytest.mark.parametrize(("labels", "wrong"), [([0, 2], "2"), ([-1, 1], "-1")])
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_out_of_range_are_named(split_folder: Path, split: str, labels: list[int], wrong: str):
    data = module(split_folder)
    data.setup("fit")
    dataset = getattr(data, f"{split}_dataset")
    dataset.labels = [labels[i % 2] for i in range(len(dataset))]
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, barebones=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            RunStoppedError, match=rf"labels must be 0 to 1, since .* 2 outputs, but the data hold {wrong};"
        ):
            trainer.fit(RobustClassifier("cifar_resnet20", num_classes=2), datamodule=data)
