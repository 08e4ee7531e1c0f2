"""Train: ``python train.py --config configs/quickstart.yaml``."""

from lightning_advinterp.cli.door import run

if __name__ == "__main__":
    run("train", "python train.py")
