"""Fragility of explanations during training: a few images per epoch within a time budget."""

import itertools
from dataclasses import replace
from typing import final

from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.fragility.question import Fragility
from lightning_advinterp.analyses.registry import as_question
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback

DEFAULT = FragilityConfig("quick", eps=("8/255",), faithfulness=0)
"""Two methods under three attacks of 10 steps: about 700 forward and backward passes of an image."""


@final
class FragilityCallback(AnalysisCallback):
    """Logs ``fragility/{method}/{attack}/{measure}``: how similar a map stays while the prediction is kept.

    Medians of ``topk``, ``spearman`` and ``center_shift``, the shares ``label_kept`` and ``success``; beside them the
    similarity of two different images' maps (attack ``other_image``), and how many images were taken
    (``fragility/images``), classified wrongly and so left out (``fragility/skipped``), or left out for lack of time
    (``fragility/left``). In TensorBoard: the curve over ε, and images with their maps before and after. Beside
    the log, in ``fragility/epoch_<n>/``: the tables of ``evaluate.py``, per image and summarised, and the figures.

    Paste into a configuration::

        fragility:
          every_n_epochs: 5
          limit: 8
          seconds: 60
          settings: {methods: [{type: gradient}, {type: lrp}], attacks: [{type: topk}], steps: 20}

    Args:
        settings: methods, attacks and radii; its ``limit``, ``batch_size``, ``seconds`` and ``seed`` are those here.
        every_n_epochs: how often.
        limit: number of validation images looked at, a seeded choice, of which the correctly classified ones are taken;
            a warning says how few they are where half or more are classified wrongly.
        batch_size: images at a time.
        seconds: no further images are taken when these would be used up; the first one always is. The number of images
            then depends on the machine's speed; ``null`` for no limit.
        seed: draws the images and the attacks' random numbers.
        num_workers: processes that load its images; ``null``: on an accelerator as many as the training has, else 0.
    """

    def __init__(
        self,
        settings: FragilityConfig = DEFAULT,
        every_n_epochs: int = 1,
        limit: int | None = 8,
        batch_size: int = 8,
        seconds: float | None = 60.0,
        seed: int = 0,
        num_workers: Workers | None = None,
    ) -> None:
        settings = replace(settings, batch_size=batch_size, seconds=seconds, seed=seed)
        self._own_seconds = seconds
        super().__init__(
            [as_question(Fragility, settings)], (), every_n_epochs, limit, batch_size, seed, num_workers=num_workers
        )

    def within(self, seconds: float) -> bool:
        """Take images until the time is over, or until its own is."""
        question = self.questions[0]
        assert isinstance(question, Fragility)
        limits = [limit for limit in (self._own_seconds, seconds) if limit is not None and limit > 0]
        self.questions = (replace(question, seconds=min(limits, default=None)),)
        return True

    def headlines(self) -> list[str]:
        """Return how much of the most important pixels stays, for every method under every attack."""
        question = self.questions[0]
        assert isinstance(question, Fragility)
        pairs = itertools.product(question.chosen_methods(), question.chosen_attacks())
        return [f"fragility/{method.label_name}/{attack.label_name}/topk" for method, attack in pairs]
