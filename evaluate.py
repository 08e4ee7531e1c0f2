"""Evaluate: ``python evaluate.py --checkpoint runs/quickstart/last.ckpt --analyses accuracy``."""

from lightning_advinterp.cli.door import run

if __name__ == "__main__":
    run("evaluate", "python evaluate.py")
