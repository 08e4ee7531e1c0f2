"""Promotion and suppression by slow loops: one image, one cell, one window at a time."""

import math

import torch


def cell_scores(network, x, x_adv, target, true, cell):
    """Every cell's scores by one image at a time and slices."""
    height, width = x.shape[2:]
    image_scores = []

    def scores(image, t, y):
        z = network(image[None])[0].double()
        forms = [z, z - z.mean(), torch.log(torch.softmax(z, 0))]
        return [[float(form[t]), float(form[y])] for form in forms]

    with torch.no_grad():
        for clean, moved, t, y in zip(x, x_adv, target.tolist(), true.tolist(), strict=True):
            removed, added = [], []
            for top in range(0, height, cell):
                for left in range(0, width, cell):
                    window = (slice(None), slice(top, top + cell), slice(left, left + cell))
                    without, alone = moved.clone(), clean.clone()
                    without[window], alone[window] = clean[window], moved[window]
                    removed.append(scores(without, t, y))
                    added.append(scores(alone, t, y))
            image_scores.append((scores(clean, t, y), scores(moved, t, y), removed, added))
    return [torch.tensor(part, dtype=torch.float64) for part in zip(*image_scores, strict=True)]


def effects(scores):
    """T and S of every cell by (effect, form), from what :func:`cell_scores` found of one image."""
    real, adversarial, removed, added = (part.tolist() for part in scores)
    by_form = {}
    for form, logits in enumerate(("raw", "centred", "log_probability")):
        remove = [(adversarial[form][0] - z[form][0], z[form][1] - adversarial[form][1]) for z in removed]
        add = [(z[form][0] - real[form][0], real[form][1] - z[form][1]) for z in added]
        both = [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in zip(remove, add, strict=True)]
        by_form |= {("remove", logits): remove, ("add", logits): add, ("symmetric", logits): both}
    return by_form


def kind_of_cell(t, s, norm, xi, threshold):
    """The type, whether it is counter-productive, and r (None where inactive)."""
    if norm == 0:
        return "inactive", False, None
    ratio = math.log2(max(t, xi) / max(s, xi))
    counter = t < -xi or s < -xi
    if t <= xi and s <= xi:
        return "inert", counter, ratio
    if ratio > threshold:
        return "promotion", counter, ratio
    return ("suppression" if ratio < -threshold else "balanced"), counter, ratio
