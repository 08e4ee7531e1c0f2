"""The training command's parser without a training."""

from lightning_advinterp.cli import TrainCLI


class ParserOnly(TrainCLI):
    """Reads flags and configurations, and makes nothing of them."""

    def instantiate_classes(self):
        pass
