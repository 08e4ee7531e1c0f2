"""``Trainer.predict`` writes what it finds, of images with labels and without."""

import csv

import pytorch_lightning as pl
import torch
from helpers import small_batch, small_network
from torch.utils.data import DataLoader, TensorDataset

from lightning_advinterp.training.module import RobustClassifier


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def predict(tmp_path, loader):
    module = RobustClassifier(network=small_network())
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=tmp_path, inference_mode=False, **quiet)
    logits = torch.cat(trainer.predict(module, DataLoader(loader, batch_size=4)))
    return logits, rows_of(tmp_path / "predictions.csv")


def test_unlabelled_images_get_a_row_each(tmp_path):
    images = small_batch(n=6).image
    logits, rows = predict(tmp_path, TensorDataset(images))
    assert [row["image"] for row in rows] == [str(number) for number in range(6)]
    assert [int(row["prediction"]) for row in rows] == logits.argmax(1).tolist()
    assert torch.allclose(
        torch.tensor([float(row["probability"]) for row in rows]), logits.softmax(1).amax(1), atol=1e-5
    )
    assert {row["label"] for row in rows} == {""}


def test_labels_stand_beside_the_predictions(tmp_path):
    batch = small_batch(n=5)
    _, rows = predict(tmp_path, TensorDataset(batch.image, batch.label))
    assert [int(row["label"]) for row in rows] == batch.label.tolist()
