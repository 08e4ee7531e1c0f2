"""Eq. 10–13 of Dong et al. 2022 and the three distance ratios, sentence by sentence, in plain Python floats."""

import math


def similarity(distances, sigma=1.0):
    return [[math.exp(-(d * d) / (2 * sigma * sigma)) for d in row] for row in distances]


def shares(classes, size):
    return [sum(1 for c in classes if c == j) / len(classes) for j in range(size)]


def bilinear(a, c, b):
    return sum(a[j] * c[j][k] * b[k] for j in range(len(a)) for k in range(len(b)))


def lc(p, c):
    return bilinear(p, c, p)


def cs(p, q, c):
    return bilinear(p, c, q) / math.sqrt(bilinear(p, c, p) * bilinear(q, c, q))


def top_images(activations, ids, count):
    """Of one unit: image numbers by falling activation, ties by number."""
    return [number for _, number in sorted(zip([-a for a in activations], ids, strict=True))][:count]


def norm(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def ratios(adversarial, features, labels, image, target):
    """The ratios of one image, among all real features."""
    mates = [f for i, f in enumerate(features) if labels[i] == labels[image] and i != image]
    of_target = [f for i, f in enumerate(features) if labels[i] == target]
    values = {}
    if mates:
        values["r_src"] = norm(adversarial, features[image]) / (
            sum(norm(features[image], m) for m in mates) / len(mates)
        )
        values["r_own"] = norm(features[image], mean(mates)) / norm(adversarial, mean(mates))
    if mates and of_target and target != labels[image]:
        values["r_ctr"] = norm(adversarial, mean(mates)) / norm(adversarial, mean(of_target))
        toward = sum(norm(adversarial, o) for o in of_target) / len(of_target)
        values["r_goal"] = norm(adversarial, mean(of_target)) / norm(features[image], mean(of_target))
        values["r_tgt"] = toward / (sum(norm(adversarial, m) for m in mates) / len(mates))
    return values
