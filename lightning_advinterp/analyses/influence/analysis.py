"""How far the training images that a prediction rests on can be exchanged (Ghorbani et al. 2019, Section 3)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.fragility.state import as_image
from lightning_advinterp.analyses.fragility.tables import named
from lightning_advinterp.analyses.influence.config import InfluenceConfig, Task
from lightning_advinterp.analyses.influence.exemplars import Exemplars, exemplar_rows
from lightning_advinterp.analyses.influence.tables import rank_of, reference_level, summary_of
from lightning_advinterp.attacks.explanation.influence import InfluenceAttack
from lightning_advinterp.attacks.explanation.raised_influence import RaisedInfluenceAttack
from lightning_advinterp.attacks.loop.budget import parse_budget
from lightning_advinterp.attacks.loop.step import RandomSignStep, SignStep
from lightning_advinterp.attacks.loop.threat import Linf
from lightning_advinterp.core.randomness import mixed_seed, sample_keys
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.explanations.influence import LastLayerInfluence, layer_size
from lightning_advinterp.explanations.last_layer import fit_last_layer, penultimate, pooled
from lightning_advinterp.metrics.heatmaps import (
    compare_inputs,
    says_nothing,
    silent_when,
    spearman,
    top_k_intersection,
)
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)


class InfluenceAnalysis(Summed):
    """Influence of training images on correctly classified test images, before and after attacks.

    Influence here is −I(i, t): how much weight on training image i lowers the loss at t. Table ``influence``, a row per
    image and attack: ``image, attack, eps, spearman`` (of the influence of all training images before and after),
    ``overlap`` (share of the most influential ones that stay), ``label_kept`` (by the last layer), ``linf``, ``l2``,
    ``delta_p``, ``delta_output``, ``class``, ``no_influence`` (``before`` the attack, ``after`` it, at ``both`` times:
    all training images then have the same influence, as of a saturated last layer, and there is nothing to compare).
    Attacks: ``sign``, one step; ``iterated``; ``random_sign``, the control.
    Table ``influence_summary``: medians, their 95 % intervals and 10 and 90 % quantiles, the medians of the images that
    kept their class (``…_kept``), and ``spearman_other``: the same between two images of one class.

    The first run over the data collects features, the second one attacks.

    Args:
        config: which layer and which attacks.
        task: which images are for what.
        images: all that are looked at, for pictures of training images; None: no exemplars are shown.
        names: of the classes.
    """

    name = "influence"
    united = ("_features", "_rows", "_vectors", "_skipped", "exemplars")
    records: ClassVar[Mapping[str, type]] = {"exemplars": Exemplars}

    def __init__(
        self, config: InfluenceConfig, task: Task, images: ImageSet | None = None, names: Sequence[str] = ()
    ) -> None:
        self.config, self.task = config, task
        self._images, self._names = images, names
        self._network: Network | None = None
        self._features: dict[int, tuple[int, Tensor]] = {}
        self._rows: dict[int, dict[str, Row]] = {}
        self._vectors: dict[int, tuple[int, Tensor]] = {}
        self._skipped: set[int] = set()
        self.exemplars: dict[int, Exemplars] = {}
        self._influence: LastLayerInfluence | None = None

    def bind(self, network: Network) -> Plan:
        """Two sweeps, the first one for the features.

        Raises:
            ValueError: if the network's own last layer is asked for, and is not linear, or the layer is too large.
        """
        self._network = network
        head = network.backbone.get_submodule(network.head) if network.head else None
        if self.config.layer == "own":
            linear = _head(network)
            layer_size(linear.out_features, linear.in_features, linear.bias is not None)
        elif isinstance(head, nn.Linear | nn.Conv2d):
            inputs = head.in_features if isinstance(head, nn.Linear) else head.in_channels
            layer_size(len(self.task.classes), inputs)
        # only test images are attacked, and only training images teach: this is the most that one may take
        steps = self.config.steps + 2
        attacked = Sweep(batch=2 * self.config.batch_size)  # training images among them fall out
        forwards, backwards = steps + 7, steps
        if self.config.raised is not None:
            forwards, backwards = forwards + self.config.steps + 2, backwards + self.config.steps
        return Plan((Sweep(layers=("penultimate",)), attacked), passes=(forwards, backwards))

    def update(self, sweep: int, observation: Observation) -> None:
        """Collect features, or attack."""
        numbers = self.task.training if sweep == 0 else self.task.test
        chosen = torch.tensor(
            [number in numbers for number in observation.index.tolist()], device=observation.index.device
        )
        index, x, labels = observation.index[chosen], observation.images[REAL][chosen], observation.label[chosen]
        if sweep == 0:
            features = pooled(observation.activations[REAL]["penultimate"])[chosen].cpu()
            for number, label, feature in zip(index.tolist(), labels.tolist(), features, strict=True):
                self._features[number] = (label, feature)
            return
        for start in range(0, len(index), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            self._measure(index[part], x[part], labels[part])

    def _places(self, labels: Tensor) -> Tensor:
        """Return the last layer's classes of labels."""
        if self.config.layer == "own":
            return labels
        return torch.searchsorted(torch.tensor(self.task.classes, device=labels.device), labels)

    def influence(self) -> LastLayerInfluence:
        """Return the influence function of the last layer, trained on all features that were collected."""
        if self._influence is None:
            network = self._network
            assert network is not None
            device = next(network.parameters()).device
            labels, features = zip(*(self._features[number] for number in sorted(self._features)), strict=True)
            inputs, y = torch.stack(features).to(device), self._places(torch.tensor(labels, device=device))
            weight: Tensor
            bias: Tensor | None
            if self.config.layer == "own":
                weight, bias = _head(network).weight, _head(network).bias
            else:
                weight, bias = fit_last_layer(inputs, y, len(self.task.classes), damping=self.config.damping)
            self._influence = LastLayerInfluence(inputs, y, weight, bias, damping=self.config.damping)
        return self._influence

    def _measure(self, index: Tensor, x: Tensor, labels: Tensor) -> None:
        network, influence, config = self._network, self.influence(), self.config
        assert network is not None
        with torch.no_grad():
            features = penultimate(network, x)
        right = influence.logits(features).argmax(1) == self._places(labels)
        self._skipped |= set(index[~right].tolist())
        if not bool(right.any()):
            return
        index, x, labels, features = index[right], x[right], labels[right], features[right]
        y, logits = self._places(labels), influence.logits(features)
        keys, before = sample_keys(index, seed=config.seed), -influence.influence(features, y).contiguous()
        for place, number in enumerate(index.tolist()):
            self._vectors[number] = (int(y[place]), before[place].float().cpu())
            self.exemplars[number] = Exemplars(as_image(x[place]), self._strongest(before[place]))
        self._trim()
        attacks = self._attacks(influence)
        raising = attacks.get("raise")
        chosen = raising.chosen(y, keys) if isinstance(raising, RaisedInfluenceAttack) else None
        if chosen is not None:
            self._note_chosen(index, chosen)
        for name, attack in attacks.items():
            x_adv = attack(network, x, y, keys=keys)
            with torch.no_grad():
                moved = penultimate(network, x_adv)
            after = -influence.influence(moved, y).contiguous()
            inputs = compare_inputs(x, x_adv, logits, influence.logits(moved), y)
            columns = {"spearman": spearman(before[:, None], after[:, None]), "overlap": self._overlap(before, after)}
            columns |= {key: inputs[key] for key in ("label_kept", "linf", "l2", "delta_p", "delta_output")} | {
                "class": labels
            }
            if chosen is not None:
                columns |= {"raised_rank_before": rank_of(before, chosen), "raised_rank": rank_of(after, chosen)}
            values = {key: column.tolist() for key, column in columns.items()}
            if chosen is not None:
                values = {"raised": self._numbers(chosen)} | values
            silent = silent_when(before[:, None], after[:, None])
            head: Row = {"attack": name, "eps": attack.eps}
            for place, number in enumerate(index.tolist()):
                rows = self._rows.setdefault(number, {})
                rows[name] = head | {key: column[place] for key, column in values.items()}
                rows[name]["no_influence"] = silent[place]
                if number in self.exemplars:
                    self.exemplars[number].after[name] = (as_image(x_adv[place]), self._strongest(after[place]))

    def _attacks(self, influence: LastLayerInfluence) -> dict[str, InfluenceAttack]:
        budget, steps = parse_budget(self.config.eps), self.config.steps
        settings: dict[str, Any] = {"influence": influence, "top": self.config.top}
        return {
            "sign": InfluenceAttack(Linf(budget), SignStep(1.0, relative=True), **settings),
            "iterated": InfluenceAttack(Linf(budget), SignStep(2.5 / steps, relative=True), steps=steps, **settings),
            "random_sign": InfluenceAttack(Linf(budget), RandomSignStep(1.0, relative=True), **settings),
        } | ({} if self.config.raised is None else {"raise": self._raising(influence)})

    def _raising(self, influence: LastLayerInfluence) -> RaisedInfluenceAttack:
        config, numbers = self.config, sorted(self._features)
        among: int | Literal["other_class"] = "other_class"
        if isinstance(config.raised, int):
            among = numbers.index(config.raised)
        step = SignStep(2.5 / config.steps, relative=True)
        settings: dict[str, Any] = {"influence": influence, "among": among, "measure": config.raise_by}
        return RaisedInfluenceAttack(Linf(parse_budget(config.eps)), step, steps=config.steps, **settings)

    def _numbers(self, places: Tensor) -> list[int]:
        """Return the numbers of training images by their places."""
        numbers = sorted(self._features)
        return [numbers[place] for place in places.tolist()]

    def _note_chosen(self, index: Tensor, chosen: Tensor) -> None:
        """Let the page of exemplars know which training image is raised."""
        for number, training in zip(index.tolist(), self._numbers(chosen), strict=True):
            if number in self.exemplars:
                self.exemplars[number].chosen = training

    def _overlap(self, before: Tensor, after: Tensor) -> Tensor:
        """Share of the most influential training images that are the same, ``[T]``; NaN where all count alike."""
        return top_k_intersection(before[:, None], after[:, None], self.config.overlap)

    def _strongest(self, values: Tensor) -> list[int]:
        """Return the numbers of the most influential training images; none where all count alike."""
        if bool(says_nothing(values[None])):
            return []
        numbers = sorted(self._features)
        return [numbers[n] for n in values.argsort(descending=True, stable=True)[: self.config.top].tolist()]

    def _trim(self) -> None:
        """Keep the exemplars of a few images, a seeded choice: neighbours in a folder are of one class."""
        order = sorted(self.exemplars, key=lambda number: (mixed_seed(self.config.seed, number), number))
        self.exemplars = {number: self.exemplars[number] for number in order[: self.config.show]}

    def settle(self, sweep: int) -> None:
        """All features are there."""
        self._influence = None

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        super().merge(state)
        self._trim()

    def result(self) -> Result:
        """Return the tables, and the medians as scalars."""
        rows: list[Row] = [
            {"image": number} | row
            for number, rows_of_image in sorted(self._rows.items())
            for row in rows_of_image.values()
        ]
        counts: Row = {"spearman_other": reference_level(self._vectors[number] for number in sorted(self._vectors))}
        counts |= {"training": len(self._features), "skipped": len(self._skipped)}
        summary = [
            summary_of([row for row in rows if row["attack"] == name], self.config.overlap) | counts
            for name in dict.fromkeys(row["attack"] for row in rows)
        ]
        scalars = {"influence/images": float(len(self._rows)), "influence/skipped": float(len(self._skipped))}
        for row in summary:
            row["no_influence"] = row.pop("no_influence")  # last
            names = ("spearman", "overlap", "label_kept", "no_influence", "raised_rank", "raised_top")
            logged = {key: row[key] for key in names if row.get(key) is not None}
            scalars |= {f"influence/{row['attack']}/{key}": value for key, value in logged.items()}
        self._warn(rows)
        tables = {"influence": rows, "influence_summary": summary}
        if self._images is None:
            return Result(self.name, scalars, tables)
        shown, arrays = exemplar_rows(self.exemplars, self._images, self._names)
        return Result(self.name, scalars, tables | {"influence_exemplars": shown}, arrays)

    def _warn(self, rows: Sequence[Row]) -> None:
        """Name the images of which no training image is more influential than another."""
        silent = list(dict.fromkeys(row["image"] for row in rows if row["no_influence"] is not None))
        if silent:
            logger.warning(
                "influence: all training images have the same influence on %d of %d images (%s), before or after an "
                "attack, as where the last layer is saturated: their measures are missing; see column no_influence.",
                len(silent),
                len(self._rows),
                named(silent),
            )


def _head(network: Network) -> nn.Linear:
    """Return the last layer, which must be linear."""
    head = network.backbone.get_submodule(network.head) if network.head else None
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"influence.layer: the last layer of {network.name} is not linear ({type(head).__name__}); take retrained."
        )
    return head
