"""The device that a command computes on."""

import torch


def choose_device(name: str) -> torch.device:
    """Return the device, or say which there are.

    Raises:
        ValueError: if the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        (torch.ones(1, device=device) + 1).item()  # the device meta has tensors, and no values
    except Exception:  # each kind of device that is not there says so in its own way
        devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"device {name!r} cannot be used here; there are {', '.join(devices)}.") from None
    return device
