"""A training of seconds on the concept world: what the tests of watched questions and of extensions share."""

from short_configs import short_config

from lightning_advinterp.cli import train

TRAINING = short_config()
TRAINING += """
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
