"""Where a network's weights and settings come from: printed before any work, and kept beside the results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_SHOWN = 3


@dataclass(frozen=True)
class Origin:
    """What was used of what a weights file and the user say.

    Attributes:
        weights: the file, the weights' name, or empty for random ones.
        weights_set: which of the file's sets of tensors was taken.
        other_sets: those that were not.
        left_out: names of the file's tensors that nothing here has a use for.
        normalization: who says mean and std.
        temperature: what the logits were divided by.
        classes: names of the outputs as the weights' file records them; empty where unknown.
        class_names: the same for people.
        resize: shorter side of an image before its crop; None where unknown.
        softplus: β of the softplus layers that stand for ReLU; None for ReLU.
    """

    weights: str = ""
    weights_set: str = ""
    other_sets: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    normalization: str = ""
    temperature: float = 1.0
    classes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    resize: int | None = None
    softplus: float | None = None

    def lines(self, mean: Sequence[float], std: Sequence[float], input_size: int) -> list[str]:
        """Return what is printed of it, with the network's own settings."""
        set_name = f", its set {self.weights_set!r}" if self.other_sets else ""
        first = f"weights        {self.weights or 'random'}{set_name}"
        if self.other_sets:
            first += f" (also there: {_some(self.other_sets)}; choose by weights_set)"
        none = not any(mean) and all(value == 1 for value in std)
        values = "none" if none else f"mean {_numbers(mean)}, std {_numbers(std)}"
        lines = [first, f"normalisation  {values} ({self.normalization}); images of {input_size} px"]
        if self.temperature != 1:
            lines.append(f"temperature    {self.temperature:g}: the last layer is divided by it")
        if self.softplus is not None:
            lines.append(f"activation     softplus of beta = {self.softplus:g} in the place of ReLU")
        if self.left_out:
            lines.append(f"not used       {len(self.left_out)} further entries of the file: {_some(self.left_out)}")
        return lines

    def provenance(self) -> dict[str, Any]:
        """Return plain types for the results; the classes stand elsewhere."""
        return {key: value for key, value in asdict(self).items() if key not in ("classes", "class_names", "resize")}


def _some(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
