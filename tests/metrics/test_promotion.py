"""Effects and types of cells, by hand and against loops."""

import functools
import math
import operator

import pytest
import torch

from lightning_advinterp.metrics.promotion import (
    EFFECTS,
    LOGITS,
    TYPES,
    CellScores,
    cell_effects,
    cell_types,
    class_scores,
    counter_productive,
    log_ratio,
    whole_effect,
)

XI = 1e-3
CASES = [  # T, S, active, type, counter-productive, r
    (0.4, 0.1, True, "promotion", False, 2.0),
    (0.1, 0.4, True, "suppression", False, -2.0),
    (0.2, 0.1, True, "balanced", False, 1.0),  # |r| = threshold does not dominate
    (0.1, 0.2, True, "balanced", False, -1.0),
    (0.2001, 0.1, True, "promotion", False, math.log2(2.001)),
    (XI, XI, True, "inert", False, 0.0),
    (0.0, -XI, True, "inert", False, 0.0),  # −ξ is not below −ξ
    (0.0, -0.5, True, "inert", True, 0.0),
    (-0.5, -0.5, True, "inert", True, 0.0),
    (0.4, -0.5, True, "promotion", True, math.log2(0.4 / XI)),
    (-0.5, 0.4, True, "suppression", True, -math.log2(0.4 / XI)),
    (0.0015, 0.0, True, "balanced", False, math.log2(1.5)),  # one effect above ξ is not inert
    (0.0, 0.0, False, "inactive", False, 0.0),
]


@pytest.mark.parametrize(("t", "s", "active", "name", "counter", "ratio"), CASES)
def test_every_type_and_edge(t, s, active, name, counter, ratio):
    t, s = (torch.tensor([value], dtype=torch.float64) for value in (t, s))
    active = torch.tensor([active])
    assert [TYPES[code] for code in cell_types(t, s, active, XI)] == [name]
    assert counter_productive(t, s, active, XI).tolist() == [counter]
    assert log_ratio(t, s, XI).tolist() == pytest.approx([ratio], abs=1e-12)


def test_scores_of_both_classes_in_every_form():
    logits = [[1.0, 3.0, -2.0], [0.5, 0.0, 0.25]]
    target, true = [1, 2], [0, 1]
    scores = class_scores(torch.tensor(logits), torch.tensor(target), torch.tensor(true))
    for row, t, y, z in zip(scores, target, true, logits, strict=True):
        total = math.log(sum(map(math.exp, z)))
        mean = sum(z) / 3
        expected = [[z[t], z[y]], [z[t] - mean, z[y] - mean], [z[t] - total, z[y] - total]]
        assert row.flatten().tolist() == pytest.approx(functools.reduce(operator.iadd, expected, []))
    assert scores.dtype == torch.float64


def test_a_common_shift_changes_raw_effects_alone():
    generator = torch.Generator().manual_seed(0)
    real, adversarial, removed, added = (torch.randn(1, 4, generator=generator).double() for _ in range(4))

    def effects(shift):
        t, y = torch.tensor([2]), torch.tensor([0])
        scores = [class_scores(z, t, y) for z in (real, adversarial + shift, removed, added)]
        return cell_effects(CellScores(scores[0], scores[1], scores[2][:, None], scores[3][:, None], torch.ones(1, 1)))

    plain, shifted = effects(0.0), effects(7.0)
    remove, raw = EFFECTS.index("remove"), LOGITS.index("raw")
    difference = (shifted.promotion - plain.promotion)[0, remove, :, 0]
    assert difference.tolist() == pytest.approx([7.0, 0.0, 0.0], abs=1e-9)
    assert (shifted.suppression - plain.suppression)[0, remove, raw, 0].item() == pytest.approx(-7.0)
    margin = [effect.promotion + effect.suppression for effect in (plain, shifted)]
    assert torch.allclose(*margin), "s_i is free of the shift"
    assert torch.allclose(margin[0][:, :, :1].expand_as(margin[0]), margin[0]), "and the same in all forms"


def test_effects_by_hand():
    """z_t: 1 at x0, 6 at x', 4 without the cell, 2 with it alone; z_t0: 5, 0, 3, 4."""
    scores = [torch.full((1, 3, 2), torch.nan, dtype=torch.float64) for _ in range(4)]
    for score, (t, y) in zip(scores, ((1, 5), (6, 0), (4, 3), (2, 4)), strict=True):
        score[..., 0], score[..., 1] = t, y
    cells = CellScores(scores[0], scores[1], scores[2][:, None], scores[3][:, None], torch.ones(1, 1))
    effects = cell_effects(cells)
    assert effects.promotion[0, :, 0, 0].tolist() == [2.0, 1.0, 1.5]
    assert effects.suppression[0, :, 0, 0].tolist() == [3.0, 1.0, 2.0]
    total = whole_effect(cells)
    assert (total.promotion[0, 0].item(), total.suppression[0, 0].item()) == (5.0, 5.0)
