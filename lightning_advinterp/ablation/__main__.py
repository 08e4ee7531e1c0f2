"""``python -m lightning_advinterp.ablation --config configs/ablation/concept_world.yaml``."""

from lightning_advinterp.ablation.command import main

main()
