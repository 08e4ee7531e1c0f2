"""How checkpoints get to disk and back: whole or not at all, never with NaN, never running code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor
from typing_extensions import override

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import write_atomically
from lightning_advinterp.core.tensor_files import read_tensor_file, save_plainly, with_hashes

WEIGHTS = ("state_dict", "current_model_state", "optimizer_states")
"""Entries of a checkpoint that training goes on from."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, brings it to disk and moves it there in one step.

    Lightning's own way goes through the system's temporary folder and, where that lies on another file system, copies
    the file over the old one: a process killed while it does leaves neither.

    Args:
        keep: name of a checkpoint to the name under which the one before it is kept.
    """

    def __init__(self, keep: Mapping[str, str] | None = None) -> None:
        self.keep = dict(keep or {})

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            RunStoppedError: if weights or the optimiser's state are not finite; the file that is there stays.
            OSError: if the file cannot be written; the file that is there stays.
        """
        path = Path(path)
        bad = not_finite({name: checkpoint.get(name) for name in WEIGHTS})
        if bad:
            raise RunStoppedError(
                f"{path} is not written: {bad} holds NaN or infinity (epoch {checkpoint.get('epoch')}, step "
                f"{checkpoint.get('global_step')}). The checkpoint before it is untouched; gradient clipping "
                "(trainer.gradient_clip_val) helps, or a run of another name with a smaller model.optimizer.lr or a "
                "longer warm-up."
            )
        previous = self.keep.get(path.name)
        write_atomically(
            path,
            lambda file: save_plainly(with_hashes(checkpoint), file),
            keep=None if previous is None else path.with_name(previous),
        )

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint as plain data, whatever is asked for: no code in it runs."""
        return read_checkpoint(Path(path), map_location=map_location)


def read_checkpoint(path: Path, *, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint as plain data: no code in it runs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds more than plain data.
    """
    content = read_tensor_file(path, what="checkpoint", map_location=map_location, mmap=mmap)
    if not isinstance(content, dict):
        raise ValueError(f"checkpoint: {path} holds a {type(content).__name__}, no checkpoint.")
    return content


def not_finite(value: Any, name: str = "") -> str | None:
    """Return the path of the first tensor with NaN or infinity in nested dictionaries and lists; None: there is none.

    Of a sparse tensor, only the values that it holds are looked at: its shape may be of any size.

    Example:
        >>> not_finite({"a": [torch.zeros(2), torch.tensor([1.0, float("nan")])]})
        'a.1'
    """
    if isinstance(value, Tensor):
        if value.is_meta or not value.is_floating_point():  # the former has no values
            return None
        if value.layout is not torch.strided:
            value = value._values() if value.layout is torch.sparse_coo else value.values()
        return name if not bool(torch.isfinite(value).all()) else None
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        entry_name = not_finite(entry, f"{name}.{key}".lstrip("."))
        if entry_name is not None:
            return entry_name
    return None
