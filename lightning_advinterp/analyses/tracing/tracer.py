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
from lightning_advinterp.units.ablation import Ablation
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
        self._ablations = {layer.layer: Ablation(Behind(network, layer.tap)) for layer in layers}
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
            logits = begun[self.layers[0].layer].logits[place]
            image = _prediction(logits)
            classes = self._classes(int(image["predicted"]), label)
            image |= {"rows": [], "recall": []}
            for layer in self.layers:
                baselines = self._baselines(knowledge, layer, begun[layer.layer].activation.shape[1])
                for name, baseline in baselines.items():
                    differences = self._trace_layer(layer, begun[layer.layer], place, classes, baseline)
                    activation = _activation(begun[layer.layer], place, layer)
                    image["rows"] += self._rows(layer, name, classes, differences, activation)
                    if name != self.config.baselines[0]:
                        continue
                    main = differences[self.config.forms[0]]
                    if recalled[place] and self.config.screen is not None:
                        image["recall"] += self._recall(layer, begun[layer.layer], place, classes, baseline, main)
            layer, baseline = self.layers[-1], next(iter(baselines.values()))
            predicted = list(classes).index("predicted") if "predicted" in classes else None
            image["activation"] = activation.float().cpu()
            if predicted is not None:
                image["differences"] = main[:, predicted].cpu()
            image["removed"] = self._remove(layer, begun[layer.layer], place, classes, main, baseline, keys[place])
            traced.append(image)
        return traced

    def _classes(self, predicted: int, label: int) -> dict[str, int]:
        """Return which outputs are asked for, by what they are called."""
        numbers = {"predicted": predicted, "true": label}
        asked = {name: numbers.get(name, int(name) if name.isdecimal() else -1) for name in self.config.classes}
        return {name: number for name, number in asked.items() if number >= 0}

    def _baselines(self, knowledge: Knowledge, layer: UnitLayer, width: int) -> dict[str, Tensor]:
        return {name: knowledge.baseline(name, layer.layer, width) for name in self.config.baselines}

    def _trace_layer(
        self, layer: UnitLayer, begun: Begun, place: int, classes: Mapping[str, int], baseline: Tensor
    ) -> dict[str, Tensor]:
        """Return every form's differences, ``[U, M]``, NaN where a screening left a unit out."""
        units = self._screened(layer, begun, place, classes, baseline)
        ablated = self._ablations[layer.layer].logits(begun, place, [[unit] for unit in units], baseline)
        numbers = torch.tensor(list(classes.values()), device=ablated.device)
        width = begun.activation.shape[1]
        found: dict[str, Tensor] = {}
        for form in self.config.forms:
            values = torch.full((width, len(numbers)), torch.nan, dtype=torch.float64)
            values[units] = prediction_differences(begun.logits[place], ablated, numbers, form).cpu()
            found[form] = values
        return found

    def _screened(
        self, layer: UnitLayer, begun: Begun, place: int, classes: Mapping[str, int], baseline: Tensor
    ) -> list[int]:
        """Return the units that are traced exactly: all, or the strongest by first order of any of the classes."""
        width = begun.activation.shape[1]
        screen = self.config.screen
        if screen is None or screen >= width:
            return list(range(width))
        numbers = torch.tensor(list(classes.values()), device=begun.logits.device)
        estimate = self._ablations[layer.layer].first_order(begun, place, numbers, baseline, self.config.forms[0])
        return sorted(set(strongest(estimate.cpu(), screen).flatten().tolist()))

    def _recall(
        self,
        layer: UnitLayer,
        begun: Begun,
        place: int,
        classes: Mapping[str, int],
        baseline: Tensor,
        screened: Tensor,
    ) -> list[float]:
        units = [[unit] for unit in range(begun.activation.shape[1])]
        ablated = self._ablations[layer.layer].logits(begun, place, units, baseline)
        numbers = torch.tensor(list(classes.values()), device=ablated.device)
        exact = prediction_differences(begun.logits[place], ablated, numbers, self.config.forms[0]).cpu()
        kept = (~screened.isnan().any(dim=1)).nonzero().flatten()
        return [recall(exact[:, number], kept, self.config.units) for number in range(len(numbers))]

    def _rows(
        self,
        layer: UnitLayer,
        baseline: str,
        classes: Mapping[str, int],
        differences: Mapping[str, Tensor],
        activation: Tensor,
    ) -> list[Row]:
        rows: list[Row] = []
        values = activation.tolist()
        for form, table in differences.items():
            order = strongest(table, self.config.units).tolist()
            for place, (name, number) in enumerate(classes.items()):
                for rank, unit in enumerate(order[place]):
                    difference = float(table[unit, place])
                    if difference != difference and form != "log_odds":
                        break  # a screening kept fewer units
                    row: Row = {"class": name, "class_index": number, "layer": layer.layer, "unit": unit, "form": form}
                    row |= {"baseline": baseline, "difference": difference, "rank": rank, "activation": values[unit]}
                    rows.append(row)
        return rows

    def _remove(
        self,
        layer: UnitLayer,
        begun: Begun,
        place: int,
        classes: Mapping[str, int],
        differences: Tensor,
        baseline: Tensor,
        key: Tensor,
    ) -> list[Row]:
        """Remove the strongest units of every class together, and units as active that nobody named instead."""
        activation = _activation(begun, place, layer)
        rows: list[Row] = []
        for column, (name, number) in enumerate(classes.items()):
            order = strongest(differences, self.config.together)[column].tolist()
            named = [unit for unit in order if float(differences[unit, column]) > 0]
            control = alike_units(activation, named, key)
            sets = [("named", named[:count]) for count in range(1, len(named) + 1)]
            sets += [("control", control)] if control else []
            if not sets:
                continue
            ablated = self._ablations[layer.layer].logits(begun, place, [units for _, units in sets], baseline)
            numbers = torch.arange(ablated.shape[-1], device=ablated.device)
            probabilities = evidence(ablated, numbers, "probability")
            for (which, units), after in zip(sets, probabilities, strict=True):
                row: Row = {"class": name, "class_index": number, "layer": layer.layer, "which": which}
                row |= {"count": len(units), "units": " ".join(map(str, units))}
                row |= {"mean_activation": float(activation[units].mean())}
                row |= {"probability": float(after[number]), "predicted": int(after.argmax())}
                rows.append(row | {"predicted_probability": float(after.max())})
        return rows


def _prediction(logits: Tensor) -> dict[str, Any]:
    probabilities = logits.double().softmax(0)
    values, numbers = probabilities.topk(min(TOP, len(logits)))
    top = list(zip(numbers.tolist(), values.tolist(), strict=True))
    # argmax as everywhere else: of equal logits topk may name another
    predicted = int(logits.argmax())
    return {"predicted": predicted, "confidence": float(probabilities[predicted]), "top": top}


def _activation(begun: Begun, place: int, layer: UnitLayer) -> Tensor:
    return layer.reduced(begun.activation[place : place + 1], "mean")[0].double().cpu()
