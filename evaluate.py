"""Evaluate: ``python evaluate.py --checkpoint runs/quickstart/last.ckpt --analyses accuracy``."""

from lightning_advinterp.cli import evaluate

if __name__ == "__main__":
    evaluate()
