"""LRP and DeepLIFT by other means than the library's: gradients of networks whose pieces were replaced."""

import torch
from torch import fx
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F


def linear(module, a, weight, bias=None):
    if isinstance(module, torch.nn.Conv2d):
        return F.conv2d(a, weight, bias, module.stride, module.padding, module.dilation, module.groups)
    return F.linear(a, weight, bias)


def is_layer(module):
    return isinstance(module, torch.nn.Conv2d | torch.nn.Linear)


def keep(value, gradient_of):
    """The first in value, the second in gradient."""
    return gradient_of + (value - gradient_of).detach()


class Trick(fx.Interpreter):
    """LRP as input times gradient: every layer is rescaled by a constant so that its gradient is its rule.

    Of a layer replaced by p(a)·(out / p).detach(), input times gradient is a ⊙ ∂p/∂a · R/p; its value is kept as out.
    """

    def __init__(self, backbone, low, high, rule="alpha_beta", epsilon=1e-6, gamma=0.25):
        super().__init__(fuse(backbone))  # BatchNorm folded by PyTorch
        self.low, self.high, self.rule, self.epsilon, self.gamma = low, high, rule, epsilon, gamma
        self.first = True

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        (a,) = args
        if isinstance(module, torch.nn.ReLU6):  # relevance passes, also where it is cut off
            out = module(a)
            return keep(out, a * (out / a.masked_fill(a == 0, 1)).detach())
        if not is_layer(module):
            return super().call_module(target, args, kwargs)
        w, b = module.weight.detach(), module.bias
        out = linear(module, a, w, b)
        if self.first:
            self.first = False
            low, high = linear(module, self.low, w.clamp(min=0)), linear(module, self.high, w.clamp(max=0))
            p = linear(module, a, w) - low - high
            return keep(out, p * (out / (p + 1e-9 * p.sign())).detach())
        if self.rule == "alpha_beta":
            p = linear(module, a, w.clamp(min=0))
            return keep(out, p * (out / (p + 1e-9)).detach())
        if self.rule == "gamma":
            w, b = w + self.gamma * w.clamp(min=0), b + self.gamma * b.clamp(min=0)
        z = linear(module, a, w, b)
        return keep(out, linear(module, a, w) * (out / (z + self.epsilon * z.sign())).detach())

    def call_function(self, target, args, kwargs):
        out = super().call_function(target, args, kwargs)
        if "add" not in target.__name__:
            return out
        parts, stabiliser = args, self.epsilon
        if self.rule == "alpha_beta":
            parts, stabiliser = [value.clamp(min=0) for value in args], 1e-9
        elif self.rule == "gamma":
            parts, stabiliser = [value + self.gamma * value.clamp(min=0) for value in args], 1e-9
        p = parts[0] + parts[1]
        return keep(out, p * (out / (p + stabiliser * p.sign()).masked_fill(p == 0, 1)).detach())


def lrp(backbone, z, target, low, high, **settings):
    """Relevance of normalised images; low and high are images too."""
    inputs = [value.expand_as(z).detach().clone().requires_grad_() for value in (z, low, high)]
    interpreter = Trick(backbone, *inputs[1:], **settings)
    logit = interpreter.run(inputs[0]).gather(1, target[:, None]).sum()
    return sum(value * grad for value, grad in zip(inputs, torch.autograd.grad(logit, inputs), strict=True)).detach()


class Record(fx.Interpreter):
    """Notes the inputs of all modules."""

    def run(self, z):
        self.inputs = []
        return super().run(z)

    def call_module(self, target, args, kwargs):
        self.inputs.append(args[0].detach())
        return super().call_module(target, args, kwargs)


class Linearised(fx.Interpreter):
    """The network with every relu a multiplication by its Δout/Δin, and every max-pool a weighted choice of inputs."""

    def __init__(self, backbone, there, back):
        super().__init__(fx.symbolic_trace(backbone))
        self.pairs = iter(zip(there, back, strict=True))

    def call_module(self, target, args, kwargs):
        module = self.fetch_attr(target)
        z, z0 = next(self.pairs)
        (h,) = args
        if isinstance(module, torch.nn.ReLU):
            delta = z - z0
            return h * torch.where(delta == 0, (z > 0).double(), (z.relu() - z0.relu()) / delta)
        if isinstance(module, torch.nn.MaxPool2d):
            return self.pool(module, h, z, z0.expand_as(z))
        if is_layer(module):
            return linear(module, h, module.weight)
        return super().call_module(target, args, kwargs)

    def pool(self, module, h, z, z0):
        """Window by window, in plain Python over channels and places of the output."""
        k, s = module.kernel_size, module.stride
        rows = [min(z.shape[2], r * s + k) for r in range(module(z).shape[2])]
        columns = [min(z.shape[3], c * s + k) for c in range(module(z).shape[3])]
        out = h.new_zeros(module(z).shape)
        for i, bottom in enumerate(rows):
            for j, right in enumerate(columns):
                window = (..., slice(i * s, bottom), slice(j * s, right))
                v, v0, g = (x[window].flatten(2) for x in (z, z0, h))
                top, top0 = v.amax(2), v0.amax(2)
                at, at0 = v.argmax(2, keepdim=True), v0.argmax(2, keepdim=True)
                at0 = torch.where(v0.gather(2, at)[..., 0:1] >= top0[..., None] * (1 - 1e-12), at, at0)
                rise, fall = (top - top0).clamp(min=0), (top - top0).clamp(max=0)
                for part, place in ((rise, at), (fall, at0)):
                    delta = (v - v0).gather(2, place)[..., 0]
                    out[:, :, i, j] += g.gather(2, place)[..., 0] * torch.where(part == 0, 0.0, part / delta)
        return out


def deeplift(backbone, z, z0, target):
    """Attributions of normalised images by the Rescale rule; BatchNorm of the backbone must be folded or absent."""
    traced = fx.symbolic_trace(backbone)
    notes = []
    for image in (z, z0):
        recorder = Record(traced)
        recorder.run(image)
        notes.append(recorder.inputs)
    h = torch.zeros_like(z).requires_grad_()
    with torch.enable_grad():
        logit = Linearised(backbone, *notes).run(h).gather(1, target[:, None]).sum()
    return torch.autograd.grad(logit, h)[0] * (z - z0)
