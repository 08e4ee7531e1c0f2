"""A training of seconds on the concept world: what the tests of watched questions and of extensions share."""

from lightning_advinterp.cli import train

TRAINING = """
trainer:
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
data:
  class_path: ConceptWorldDataModule
  init_args: {train_size: 32, val_size: 24, test_size: 24, image_size: 16, batch_size: 16}
model: {network: resnet18, stem: small, optimizer: {lr: 0.05}}
accuracy: null
guard: null
pictures: null
"""


def train_in(folder, config, *flags):
    """Train by ``TRAINING`` and a configuration, and return the folder, whose ``config.yaml`` holds both."""
    (folder / "config.yaml").write_text(TRAINING + config)
    train(["--config", str(folder / "config.yaml"), "--output", str(folder), *flags])
    return folder
