"""Prediction differences against the definition in plain numbers."""

import math

import pytest
import torch

from lightning_advinterp.metrics.prediction_difference import prediction_differences, recall, strongest


def probability(logits, number):
    total = sum(math.exp(value) for value in logits)
    return math.exp(logits[number]) / total


def literal(logits, samples, number, form):
    """The definition, one ablation with its samples."""
    if form == "logit":
        return logits[number] - sum(sample[number] for sample in samples) / len(samples)
    before = probability(logits, number)
    after = sum(probability(sample, number) for sample in samples) / len(samples)
    if form == "probability":
        return before - after
    return math.log2(before / (1 - before)) - math.log2(after / (1 - after))


@pytest.mark.parametrize("form", ["probability", "logit", "log_odds"])
@pytest.mark.parametrize("samples", [1, 3])
def test_equals_the_definition(form, samples):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, generator=generator, dtype=torch.float64)
    ablated = torch.randn(4, samples, 6, generator=generator, dtype=torch.float64)
    classes = torch.tensor([5, 0])
    measured = prediction_differences(logits, ablated, classes, form)
    for ablation in range(4):
        for place, number in enumerate(classes.tolist()):
            expected = literal(logits.tolist(), ablated[ablation].tolist(), number, form)
            assert float(measured[ablation, place]) == pytest.approx(expected, abs=1e-12)


def test_a_network_that_is_sure_loses_no_digits():
    logits = torch.tensor([60.0, 0.0, 1.0], dtype=torch.float64)
    ablated = torch.tensor([[[50.0, 0.0, 1.0]]], dtype=torch.float64)
    bits = prediction_differences(logits, ablated, torch.tensor([0]), "log_odds")
    assert float(bits) == pytest.approx(10 / math.log(2), rel=1e-12)


def test_what_changes_nothing_has_no_difference():
    logits = torch.randn(5)
    ablated = logits.expand(2, 7, 5)
    for form in ("probability", "logit", "log_odds"):
        assert torch.equal(prediction_differences(logits, ablated, torch.arange(5), form), torch.zeros(2, 5).double())


def test_one_class_alone():
    logits, ablated = torch.tensor([2.0]), torch.tensor([[[1.0]]])
    assert float(prediction_differences(logits, ablated, torch.tensor([0]), "probability")) == 0
    assert float(prediction_differences(logits, ablated, torch.tensor([0]), "logit")) == 1
    assert math.isnan(float(prediction_differences(logits, ablated, torch.tensor([0]), "log_odds")))


def test_of_equal_units_the_first():
    differences = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [torch.nan, 3.0]])
    assert strongest(differences, 3).tolist() == [[1, 0, 2], [3, 0, 1]]
    assert strongest(differences, 9).shape == (2, 4)


def test_recall_of_a_screening():
    assert recall(torch.tensor([5.0, 4.0, 3.0, -9.0]), torch.tensor([0, 3]), 2) == 0.5
