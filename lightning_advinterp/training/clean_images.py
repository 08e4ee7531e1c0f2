"""What Lightning's validation, test and prediction do with a network: loss and accuracy on clean images, logits."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from lightning_advinterp.core.result import Row
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.compiled import CompiledPasses, compiled
from lightning_advinterp.training.predictions import prediction_rows, save_predictions


class JudgedOnCleanImages(pl.LightningModule):
    """The evaluating half of :class:`~lightning_advinterp.training.module.RobustClassifier`.

    Attributes:
        network: what is judged.
        class_names: of its outputs, for people; empty where unknown.
    """

    network: Network
    class_names: list[str]

    @property
    def passes(self) -> CompiledPasses | None:
        """The network's compiled passes; None without any."""
        return None

    def create_metrics(self, outputs: int) -> None:
        """Make the metrics of a network of so many outputs."""
        # Lightning's own mean over processes cuts half an image off odd batches.
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_accuracy, self.test_accuracy = _accuracies(outputs, "val/"), _accuracies(outputs, "test/")

    def on_validation_epoch_start(self) -> None:
        """Begin with states that any later pass can go on with, whatever mode Lightning's own one is in."""
        with torch.inference_mode(False):
            self.val_loss.reset()
            self.val_accuracy.reset()

    def on_test_epoch_start(self) -> None:
        """The same."""
        with torch.inference_mode(False):
            self.test_loss.reset()
            self.test_accuracy.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy on clean images."""
        self._judge(batch, "val/loss", self.val_loss, self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on test images, as ``test/{loss, acc, acc5}``."""
        self._judge(batch, "test/loss", self.test_loss, self.test_accuracy)

    def on_predict_start(self) -> None:
        """Begin without rows."""
        self._predicted: list[list[Row]] = []

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the logits ``[B, K]``, and note the predictions for ``predictions.csv``."""
        logits = self._logits(batch)
        while len(self._predicted) <= dataloader_idx:
            self._predicted.append([])
        rows = self._predicted[dataloader_idx]
        rows += prediction_rows(batch, logits, self.class_names, len(rows))
        return logits

    def on_predict_end(self) -> None:
        """Write ``predictions.csv`` and say where it lies."""
        for path in save_predictions(self.trainer, self._predicted):
            rank_zero_info(f"predictions    {path}")
        self._predicted = []

    def _logits(self, batch: Batch) -> Tensor:
        with compiled(self.network, self.passes):
            logits: Tensor = self.network(batch.image).float()
        return logits

    def _judge(self, batch: Batch, key: str, loss: MeanMetric, accuracies: MetricCollection) -> None:
        logits, size = self._logits(batch), len(batch.label)
        loss.update(F.cross_entropy(logits, batch.label), weight=size)
        self.log(key, loss, batch_size=size)
        accuracies.update(logits, batch.label)
        self.log_dict(dict(accuracies.items()), prog_bar=True, batch_size=size)


def _accuracies(outputs: int, prefix: str) -> MetricCollection:
    top = {"acc": 1, "acc5": min(5, outputs)}
    return MetricCollection(
        {name: MulticlassAccuracy(outputs, top_k=k, average="micro") for name, k in top.items()},
        prefix=prefix,
        compute_groups=False,
    )
