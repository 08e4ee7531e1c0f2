"""Traces predictions of single images to units, once it is known what takes a unit's place."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.analyses.tracing.config import TracingConfig
from lightning_advinterp.analyses.tracing.control import alike_units
from lightning_advinterp.analyses.tracing.knowledge import Knowledge
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.prediction_difference import evidence, prediction_differences, recall, strongest
from lightning_advinterp.networks.behind import Begun, Behind
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.basis_ablation import ablation_of
from lightning_advinterp.units.spaces import UnitLayer

TOP = 5
"""So many of the most likely classes are noted."""


class Tracer:
    """Traces predictions of one network to the units of layers.

    Args:
        network: in evaluation mode whenever this is used.
        layers: whose units are traced; the last one's are removed together too.
        config: how.
    """

    def __init__(self, network: Network, layers: Sequence[UnitLayer], config: TracingConfig) -> None:
        self.network, self.layers, self.config = network, tuple(layers), config
        self._ablations = {layer.layer: ablation_of(Behind(network, layer.tap), layer) for layer in layers}
        for name in config.classes:
            if name.isdecimal() and int(name) >= network.num_classes:
                raise ValueError(
                    f"tracing.classes: {network.name} has outputs 0 to {network.num_classes - 1}, got {name}."
                )

    def trace(
        self, x: Tensor, labels: Sequence[int], keys: Tensor, knowledge: Knowledge, recalled: Sequence[bool]
    ) -> list[dict[str, Any]]:
        """Trace a batch of images.

        Args:
            x: ``[B, 3, H, W]`` in [0, 1].
            labels: −1 where there is none.
            keys: int64 ``[B]``, of the random draws of control units.
            knowledge: what takes a unit's place.
            recalled: for which images the recall of a screening is measured.

        Returns:
            For each image plain data: ``predicted, confidence, top`` (classes and probabilities), ``rows`` (of the
            table ``tracing``, without names), ``removed`` (rows), ``differences`` (of the last layer's units for the
            predicted class), ``activation`` (of these units), ``recall`` (of a screening, one number a class).
        """
        begun = {layer.layer: self._ablations[layer.layer].behind.begin(x) for layer in self.layers}
        traced = []
        for place, label in enumerate(labels):
            image = _prediction(begun[self.layers[0].layer].logits[place]) | {"rows": [], "recall": [], "removed": []}
            classes = self._classes(int(image["predicted"]), label)
            views = [_View(layer, begun[layer.layer], place, classes) for layer in self.layers]
            image["activation"] = views[-1].activation.float()
            for view in views if classes else ():
                self._trace_units(image, view, knowledge, recalled[place], keys[place])
            traced.append(image)
        return traced

    def _trace_units(
        self, image: dict[str, Any], view: "_View", knowledge: Knowledge, recalled: bool, key: Tensor
    ) -> None:
        """Add what the units of a layer contribute; the first baseline and form decide what is removed together."""
        for number, name in enumerate(self.config.baselines):
            baseline = knowledge.baseline(name, view.layer.layer, view.width)
            differences = self._differences(view, baseline)
            image["rows"] += self._rows(view, name, differences)
            if number > 0:
                continue
            main = differences[self.config.forms[0]]
            if recalled and self.config.screen is not None:
                image["recall"] += self._recall(view, baseline, main)
            if view.layer is self.layers[-1]:
                image["removed"] = self._remove(view, main, baseline, key)
                if "predicted" in view.classes:
                    image["differences"] = main[:, list(view.classes).index("predicted")]

    def _classes(self, predicted: int, label: int) -> dict[str, int]:
        """Return which outputs are asked for, by what they are called."""
        numbers = {"predicted": predicted, "true": label}
        outputs = {name: numbers.get(name, int(name) if name.isdecimal() else -1) for name in self.config.classes}
        return {name: number for name, number in outputs.items() if number >= 0}

    def _differences(self, view: "_View", baseline: Tensor) -> dict[str, Tensor]:
        """Return every form's differences, ``[U, M]``, NaN where a screening left a unit out."""
        units = self._screened(view, baseline)
        ablated = self._ablated(view, [[unit] for unit in units], baseline)
        differences: dict[str, Tensor] = {}
        for form in self.config.forms:
            values = torch.full((view.width, len(view.classes)), torch.nan, dtype=torch.float64)
            values[units] = prediction_differences(view.logits, ablated, view.numbers, form).cpu()
            differences[form] = values
        return differences

    def _ablated(self, view: "_View", units: Sequence[Sequence[int]], baseline: Tensor) -> Tensor:
        return self._ablations[view.layer.layer].logits(view.begun, view.place, units, baseline)

    def _screened(self, view: "_View", baseline: Tensor) -> list[int]:
        """Return the units that are traced exactly: all, or the strongest by first order of any of the classes."""
        screen = self.config.screen
        if screen is None or screen >= view.width:
            return list(range(view.width))
        ablation = self._ablations[view.layer.layer]
        estimate = ablation.first_order(view.begun, view.place, view.numbers, baseline, self.config.forms[0])
        return sorted(set(strongest(estimate.cpu(), screen).flatten().tolist()))

    def _recall(self, view: "_View", baseline: Tensor, screened: Tensor) -> list[float]:
        """Return for every class which share of its strongest units a screening kept."""
        ablated = self._ablated(view, [[unit] for unit in range(view.width)], baseline)
        exact = prediction_differences(view.logits, ablated, view.numbers, self.config.forms[0]).cpu()
        candidates = (~screened.isnan().any(dim=1)).nonzero().flatten()
        return [recall(exact[:, column], candidates, self.config.units) for column in range(exact.shape[1])]

    def _rows(self, view: "_View", baseline: str, differences: Mapping[str, Tensor]) -> list[Row]:
        rows: list[Row] = []
        values = view.activation.tolist()
        for form, table in differences.items():
            order = strongest(table, self.config.units).tolist()
            for column, (name, number) in enumerate(view.classes.items()):
                for rank, unit in enumerate(order[column]):
                    row: Row = {"class": name, "class_index": number, "layer": view.layer.layer, "unit": unit}
                    row |= {"form": form, "baseline": baseline, "difference": float(table[unit, column])}
                    rows.append(row | {"rank": rank, "activation": values[unit]})
        return rows

    def _remove(self, view: "_View", differences: Tensor, baseline: Tensor, key: Tensor) -> list[Row]:
        """Remove the strongest units of every class together, and units as active that nobody named instead."""
        rows: list[Row] = []
        for column, (name, number) in enumerate(view.classes.items()):
            order = strongest(differences, self.config.together)[column].tolist()
            named = [unit for unit in order if float(differences[unit, column]) > 0]
            control = alike_units(view.activation, named, key)
            sets = [("named", named[:count]) for count in range(1, len(named) + 1)]
            sets += [("control", control)] if control else []
            if not sets:
                continue
            ablated = self._ablated(view, [units for _, units in sets], baseline)
            classes = torch.arange(ablated.shape[-1], device=ablated.device)
            for (which, units), after in zip(sets, evidence(ablated, classes, "probability"), strict=True):
                row: Row = {"class": name, "class_index": number, "layer": view.layer.layer, "which": which}
                row |= {"count": len(units), "units": " ".join(map(str, units))}
                row |= {"mean_activation": float(view.activation[units].mean())}
                row |= {"probability": float(after[number]), "predicted": int(after.argmax())}
                rows.append(row | {"predicted_probability": float(after.max())})
        return rows


class _View:
    """One image at one layer, and the classes that are asked for.

    Args:
        layer: whose units are traced.
        begun: the batch that has passed the layer.
        place: of the image in it.
        classes: outputs, by what they are called.
    """

    def __init__(self, layer: UnitLayer, begun: Begun, place: int, classes: Mapping[str, int]) -> None:
        self.layer, self.begun, self.place, self.classes = layer, begun, place, classes
        self.logits = begun.logits[place]
        self.numbers = torch.tensor(list(classes.values()), dtype=torch.int64, device=begun.logits.device)
        self.activation = layer.reduced(begun.activation[place : place + 1], "mean")[0].double().cpu()
        self.width = len(self.activation)


def _prediction(logits: Tensor) -> dict[str, Any]:
    probabilities = logits.double().softmax(0)
    values, numbers = probabilities.topk(min(TOP, len(logits)))
    top = list(zip(numbers.tolist(), values.tolist(), strict=True))
    # argmax as everywhere else: of equal logits topk may name another
    predicted = int(logits.argmax())
    return {"predicted": predicted, "confidence": float(probabilities[predicted]), "top": top}
