"""Train: ``python train.py --config configs/quickstart.yaml``."""

from lightning_advinterp.cli import train

if __name__ == "__main__":
    train()
