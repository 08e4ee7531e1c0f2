"""What ``trainer.sync_batchnorm: true`` does: Lightning's plugin, with BatchNorm layers that also work on a CPU."""

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from lightning_advinterp.networks.sync_batch_norm import desynchronize_batch_norm, synchronize_batch_norm


class SyncBatchNormPlugin(TorchSyncBatchNorm):
    """Synchronises BatchNorm during a training, and puts the network's own layers back afterwards.

    Lightning's own conversion makes new layers, which lose their hooks, and gives back others than it took.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise; the layers stay the same objects."""
        synchronize_batch_norm(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Undo it."""
        desynchronize_batch_norm(model)
        return model
