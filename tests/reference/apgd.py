"""Croce & Hein 2020, Algorithm 1, word for word: one image, plain numbers, every point and its objective kept."""

import math

import torch


def apgd(objective, x, start, eps, steps, norm, rho=0.75, alpha=0.75):
    """Maximise ``objective`` (image to a number) around the image ``x``; return x_max, all x^(k), the last η.

    The check of iteration w_j comes when f(x^(w_j)) is known, as in the authors' code.
    """

    def project(z):
        if norm == "linf":
            return torch.max(torch.min(z, x + eps), x - eps).clamp(0, 1)
        delta = z - x
        length = delta.square().sum().sqrt()
        return (x + delta * min(1.0, eps / float(length)) if length > 0 else z).clamp(0, 1)

    def value_and_gradient(point):
        point = point.clone().requires_grad_()
        value = objective(point)
        return float(value.detach()), torch.autograd.grad(value, point)[0]

    def ahead(point, gradient, eta):
        unit = gradient.sign() if norm == "linf" else gradient / gradient.square().sum().sqrt()
        return project(point + eta * unit)

    p, w = [0.0, 0.22], [0, math.ceil(round(0.22 * steps, 6))]
    while p[-1] + max(p[-1] - p[-2] - 0.03, 0.06) <= 1 + 1e-9:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        w.append(math.ceil(round(p[-1] * steps, 6)))

    eta = {0: 2 * eps}  # η^(k)
    points, values = [start], [value_and_gradient(start)[0]]  # x^(k) as evaluated, f(x^(k))
    x_max, f_max = start, values[0]
    best_at = {0: f_max}  # f_max^(w_j)
    current, f_current, previous, risen = start, values[0], start, []
    for k in range(steps):
        gradient = value_and_gradient(current)[1]
        z = ahead(current, gradient, eta[k])
        following = z if k == 0 else project(current + alpha * (z - current) + (1 - alpha) * (current - previous))
        f_following = value_and_gradient(following)[0]
        points.append(following)
        values.append(f_following)
        risen.append(f_following > f_current)
        previous, current, f_current = current, following, f_following
        if f_current > f_max:
            x_max, f_max = current, f_current
        eta[k + 1] = eta[k]
        if k + 1 in w:
            last = w[w.index(k + 1) - 1]
            few_rises = sum(risen[last : k + 1]) < rho * (k + 1 - last)
            stalled = eta[max(last - 1, 0)] == eta[k] and best_at[last] == f_max  # η before the halving at w_(j−1)
            best_at[k + 1] = f_max
            if few_rises or stalled:
                eta[k + 1] = eta[k] / 2
                current, f_current = x_max, f_max
    return x_max, points, eta[steps]
