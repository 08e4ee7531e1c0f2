"""All that belongs to a user who calls a function of the package: his network, and the settings of his session."""

import gc
import logging
import os
import random
import signal
import sys
import warnings
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageFile
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def of_network(network):
    """What a user's module is and holds: the same tensors, with the same values, modes, hooks and attributes."""
    state = {}
    for name, module in network.named_modules():
        state[f"{name} class"] = type(module)
        state[f"{name} attributes"] = sorted(vars(module))
        state[f"{name} training"] = module.training
        state |= {f"{name} {hooks}": list(getattr(module, hooks).items()) for hooks in HOOKS}
        state |= {f"{name} {key}": value for key, value in vars(module).items() if isinstance(value, int | float | str)}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        state[f"{name} is"] = id(tensor)
        state[f"{name} value"] = (tensor.detach().clone(), tensor.device, tensor.requires_grad)
        state[f"{name} gradient"] = None if tensor.grad is None else (id(tensor.grad), tensor.grad.clone())
    return state


def of_session():
    """Random states and global settings."""
    flags = torch.backends.cudnn
    drawn = np.random.get_state()  # noqa: NPY002  # which other libraries draw from
    return {
        "torch's random state": torch.get_rng_state(),
        "numpy's random state": (drawn[0], torch.from_numpy(drawn[1].copy()), *drawn[2:]),
        "python's random state": random.getstate(),
        "cudnn": (flags.enabled, flags.benchmark, flags.deterministic, flags.allow_tf32),
        "matmul": (torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()),
        "attention": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        ),
        "mkldnn": torch.backends.mkldnn.enabled,
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "numpy errors": np.geterr(),
        "matplotlib": (mpl.get_backend(auto_select=False), _styles()),
        "pyplot": "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums(),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "logging": (
            logging.root.level,
            list(logging.root.handlers),
            logging.raiseExceptions,
            logging.root.manager.disable,
        ),
        "streams": (sys.stdout, sys.stderr, sys.stdout.errors, sys.excepthook, sys.displayhook),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "paths": list(sys.path),
        "limits": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sys.getrecursionlimit(), gc.isenabled()),
    }


def _styles():
    """Matplotlib's settings but for the backend, which is chosen when it is looked at."""
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


def same(before, after):
    if isinstance(before, torch.Tensor):
        return isinstance(after, torch.Tensor) and torch.equal(before, after)
    if isinstance(before, tuple | list):
        alike = isinstance(after, tuple | list) and len(before) == len(after)
        return alike and all(same(*pair) for pair in zip(before, after, strict=True))
    return bool(before == after)


@contextmanager
def unchanged(*networks):
    """See that everything is as before when the block is over, also after an error."""
    before = [*(of_network(network) for network in networks), of_session()]
    try:
        yield
    finally:
        after = [*(of_network(network) for network in networks), of_session()]
        for earlier, later in zip(before, after, strict=True):
            changed = [name for name in earlier | later if not same(earlier.get(name), later.get(name))]
            assert not changed, changed


def as_a_user_has_it(network):
    """Give a network what users have: mixed modes, a frozen parameter, a gradient, a hook of their own."""
    network.train()
    for place, module in enumerate(network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if place == 1:
            module.register_forward_hook(lambda module, args, output: None)
    first, *_, last = network.parameters()
    last.requires_grad_(False)
    first.grad = torch.ones_like(first)
    return network
