import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import MakeFolder, picture

from lightning_advinterp.data import Batch
from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.cifar_files import read_cifar10
from lightning_advinterp.data.memory_set import MemoryDataset, shift_and_flip
from lightning_advinterp.datamodules import CIFAR10DataModule


def write_batches(root: Path, per_batch: int = 20) -> np.ndarray:
    """Write CIFAR-10's files with random pixels, pickled as Python 2 and old NumPy did; return the pixels."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    everything = []
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        content = {"data": data, "labels": [i % 10 for i in range(per_batch)], "batch_label": name}
        pickled = pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core")
        (folder / name).write_bytes(pickled)
        everything.append(data)
    return np.concatenate(everything)


@pytest.fixture
def jpeg_folder(make_folder: MakeFolder) -> Path:
    root = make_folder()
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(CLASS_NAMES):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture(10 * label + i, (32, 32)).save(root / split / name / f"{i}.jpg")
    return root


def test_pickled_batches(tmp_path: Path):
    pixels = write_batches(tmp_path)
    splits = read_cifar10(tmp_path)
    train, test = splits["train"], splits["test"]
    assert train.images.shape == (100, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert np.array_equal(train.images.flatten(1).numpy(), pixels[:100])
    assert np.array_equal(test.images.flatten(1).numpy(), pixels[100:])
    assert train.labels == [i % 10 for i in range(100)]


def test_torchvision_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from torchvision.datasets import CIFAR10

    write_batches(tmp_path)
    meta = tmp_path / "cifar-10-batches-py" / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": list(CLASS_NAMES)}))
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    theirs = CIFAR10(str(tmp_path), train=True)
    ours = read_cifar10(tmp_path)["train"]
    assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert ours.labels == theirs.targets


def test_jpeg_folder(jpeg_folder: Path):
    splits = read_cifar10(jpeg_folder)
    assert splits["train"].images.shape == (30, 3, 32, 32)
    assert splits["test"].labels == list(range(10))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path):
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "harm").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match=r"cannot read .*test_batch.*wants to load os.system.*fetch it again"):
        read_cifar10(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Ran out of input"),
        (
            pickle.dumps({"data": np.zeros((2, 10), np.uint8), "labels": [0, 1]}, 2),
            r"expected uint8 \[N, 3072\]",
        ),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, 2), "labels from 0 to 9"),
        (pickle.dumps({"data": 3}, 2), "labels"),
    ],
)
def test_damaged_batch(tmp_path: Path, content: bytes, message: str):
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=rf"cannot read the CIFAR-10 batch '.*data_batch_3': .*{message}"):
        read_cifar10(tmp_path)


class _Call:
    """Pickles as a call of a function that a reader may know."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def _with_type(kind: np.dtype) -> bytes:
    return pickle.dumps({"data": np.zeros((1, 3072), kind), "labels": [0]}, 2)


CRAFTED = {
    # A type with fields or an object type makes NumPy read the array's bytes as pointers.
    "objects": _with_type(np.dtype(object)),
    "fields": _with_type(np.dtype([("a", "u1")])),
    "signed": _with_type(np.dtype("i1")),
    "floats": _with_type(np.dtype("f8")),
    "changed": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0]}, 2).replace(
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00", b"J\xff\xff\xff\x7fJ\x10\x00\x00\x00K\x3f"
    ),
    "a view": pickle.dumps({"data": _Call(np.ndarray, (1, 3072), np.uint8), "labels": [0]}, 2),
    "short": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0]}, 2).replace(
        b"M\x00\x0c", b"M\x00\x7f"
    ),
    "labels": pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["0"]}, 2),
    "a great memo": b"\x80\x02]r\xff\xff\xff\x7f.",  # the unpickler in C makes room for two milliards
    "a great frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "no dictionary": pickle.dumps([1], 2),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_batches_are_refused(tmp_path: Path, kind: str):
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(CRAFTED[kind])
    with pytest.raises(ValueError, match=r"cannot read the CIFAR-10 batch '.*data_batch_3': .+; fetch it again"):
        read_cifar10(tmp_path)


def test_batches_that_are_no_files(tmp_path: Path):
    write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="it is no regular file"):
        read_cifar10(tmp_path)


def test_a_batch_written_by_python_2(tmp_path: Path):
    """Its strings of bytes are read as text; the protocol had no bytes."""
    pixels = write_batches(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    raw = pixels[100:].tobytes()
    minus = b"J\xff\xff\xff\xff"
    path.write_bytes(
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x14M\x00\x0c"
        b"\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNN" + minus + minus + b"K\x00tb\x89T"
        b"" + len(raw).to_bytes(4, "little") + raw + b"tbU\x06labels](" + b"K\x07" * 20 + b"eu."
    )
    assert np.array_equal(read_cifar10(tmp_path)["test"].images.flatten(1).numpy(), pixels[100:])


@pytest.mark.parametrize("spell", ["{0}", "{1}", "{0}_{1}", "{0:02d}", "class_{0}"])
def test_folders_in_other_spellings(jpeg_folder: Path, spell: str):
    usual = read_cifar10(jpeg_folder)
    for split in ("train", "test"):
        for label, name in enumerate(CLASS_NAMES):
            (jpeg_folder / split / name).rename(jpeg_folder / split / spell.format(label, name.upper()))
    renamed = read_cifar10(jpeg_folder)["test"]
    assert renamed.labels == sorted(renamed.labels)
    assert torch.equal(renamed.images, usual["test"].images)


def test_a_missing_batch(tmp_path: Path):
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"cannot read the CIFAR-10 batch '.*data_batch_3': .*No such file"):
        read_cifar10(tmp_path)


def test_missing_folders(tmp_path: Path, make_folder: MakeFolder):
    with pytest.raises(FileNotFoundError, match=r"must hold cifar-10-batches-py/ .*no such folder.*download=true"):
        read_cifar10(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"must hold cifar-10-batches-py/ .*found other at"):
        read_cifar10(make_folder("other/1.jpg", root="somewhere"))
    with pytest.raises(FileNotFoundError, match="lacks the folder test/"):
        read_cifar10(make_folder("train/cat/1.jpg", root="half"))


def test_other_folders_are_refused(make_folder: MakeFolder):
    root = make_folder("train/lynx/1.jpg", "test/lynx/1.jpg")
    with pytest.raises(ValueError, match=r"must be CIFAR-10's .*found lynx; use ImageFolderDataModule"):
        read_cifar10(root)


def test_wrong_size(jpeg_folder: Path):
    picture(0, (33, 32)).save(jpeg_folder / "test/cat/0.jpg")
    with pytest.raises(ValueError, match=r"32x32 pixels, got \(33, 32\) in '.*test/cat/0.jpg'"):
        read_cifar10(jpeg_folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_module(jpeg_folder: Path, workers: int):
    data = CIFAR10DataModule(jpeg_folder, batch_size=5, num_workers=workers, val_share=0.3, seed=1)
    data.prepare_data()
    data.setup("fit")
    assert (data.num_classes, data.image_size) == (10, 32)
    assert list(data.class_names) == list(CLASS_NAMES)
    batches = list(data.train_dataloader())
    assert isinstance(batches[0], Batch)
    assert batches[0].image.shape == (5, 3, 32, 32)
    assert batches[0].image.dtype == torch.uint8
    train = torch.cat([batch.index for batch in batches]).tolist()
    val = torch.cat([batch.index for batch in data.val_dataloader()]).tolist()
    assert sorted(train + val) == list(range(30))
    assert torch.cat([batch.label for batch in data.val_dataloader()]).tolist() == list(range(10))
    assert len(data.test_dataset) == 10


def test_validation_on_the_test_images(jpeg_folder: Path):
    data = CIFAR10DataModule(jpeg_folder, val_share=None, limit_train=20, num_workers=0)
    data.setup()
    assert (len(data.train_dataset), len(data.val_dataset)) == (20, 10)
    assert torch.bincount(torch.tensor(data.train_dataset.labels)).tolist() == [2] * 10


@pytest.mark.real
def test_wnids_are_the_first_senses_of_the_names(real_data: Path):
    with zipfile.ZipFile(real_data / "nltk_data" / "corpora" / "wordnet.zip") as archive:
        lines = archive.read("wordnet/index.noun").decode().splitlines()
    entries = {line.split()[0]: line.split() for line in lines if not line.startswith(" ")}
    # lemma, part of speech, number of senses, number of pointers, pointers, two counts, one offset per sense
    first = {name: entries[name][-int(entries[name][2])] for name in CLASS_NAMES}
    assert [f"n{first[name]}" for name in CLASS_NAMES] == list(WNIDS)


def test_shift_and_flip_equals_a_literal_one():
    images = torch.randint(0, 256, (40, 3, 8, 6), dtype=torch.uint8)
    draws = torch.randint(0, 2**62, (40,)).tolist()
    for image, draw, result in zip(images, draws, shift_and_flip(images, draws, 2), strict=True):
        padded = torch.zeros(3, 12, 10, dtype=torch.uint8)
        padded[:, 2:10, 2:8] = image
        top, left = draw % 5, (draw >> 16) % 5
        part = padded[:, top : top + 8, left : left + 6]
        assert torch.equal(result, part.flip(-1) if (draw >> 40) & 1 else part)


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    data = MemoryDataset(images, list(range(16)), shift=4, seed=1)
    part = MemoryDataset(images, list(range(16)), shift=4, seed=1, indices=[3, 5])
    together = torch.stack([sample.image for sample in data.__getitems__(range(16))])
    assert torch.equal(part[1].image, together[5])
    assert (part[1].index.item(), part[1].label.item()) == (5, 5)
    data.set_epoch(1)
    assert not torch.equal(data[5].image, together[5])
    plain = MemoryDataset(images, list(range(16)))
    assert torch.equal(plain[7].image, images[7])


def test_memory_dataset_checks_its_arguments():
    with pytest.raises(ValueError, match=r"expected uint8 images and as many labels, got .* and 1 labels"):
        MemoryDataset(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0])
