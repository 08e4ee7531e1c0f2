"""``python -m lightning_advinterp.ablation --config configs/ablation/concept_world.yaml``."""

from lightning_advinterp.cli.door import run

run("ablation", "python -m lightning_advinterp.ablation")
