"""AttnLRP: layer-wise relevance propagation through attention, and through whatever else a vision network calls."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_advinterp.explanations.attention_rules import KINDS, attention_rule
from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.question import Question
from lightning_advinterp.explanations.recomputation import input_gradient
from lightning_advinterp.explanations.tape import Tape, propagate, pulled
from lightning_advinterp.explanations.verification import alike
from lightning_advinterp.networks.logits import logits_of

_VERIFIED: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


class AttnLRP(Method):
    """Relevance R flows from the logit z_c to the pixels, through attention too (Achtibat et al. 2024).

    * linear layers and convolutions: R_i = Σ_j a_i W_ij R_j / z_j (the ε rule with ε → 0), or with γ > 0 the
      generalised γ rule, whose contributions of z_j's sign count 1 + γ times; biases absorb their share;
    * a product of two values, as q·k and softmax·v: half of R to each (their proposition 3.3);
    * softmax s of x: R_i = x_i (R_i − s_i Σ_j R_j), the Taylor rule (their proposition 3.1), which does not conserve R;
    * LayerNorm and its kin: linear, with the standard deviation held (their proposition 3.4, after the mean is taken
      away by a linear layer);
    * activations f: R passes unchanged;
    * gates (a sigmoid) and statistics that a value is multiplied with or divided by: they get no R (Arras et al. 2017);
    * sums: in proportion to the summands.

    Where nothing has a bias and no softmax is passed, ΣR = z_c. The pass is followed as it runs, so that functions
    count as modules do; the first one checks that what was followed has the network's own gradient.

    Args:
        gamma: γ of linear layers and convolutions; 0 for the ε rule. The authors take 0.05 to 0.25 for vision
            transformers, whose ε maps are noisy.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.

    Reference:
        Achtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers, 2024.
    """

    own_pass = True

    def __init__(self, *, gamma: float = 0.0, **common: Any) -> None:
        super().__init__(**{"name": "attnlrp"} | common)
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma must be 0 or more, got {gamma}.")
        self.gamma = gamma

    def map_passes(self, size: int) -> tuple[int, int]:
        """A forward pass, one more call by call, and one back; with γ four of each in linear layers."""
        return (2, 1) if self.gamma == 0 else (6, 4)

    def signed(self, question: Question) -> Tensor:
        """Return the pixels' relevance."""
        if _VERIFIED.get(question.body) is None:
            _verify(question, self.name)
            _VERIFIED[question.body] = True
        with torch.set_grad_enabled(question.create_graph):
            tape = Tape(question.body, question.z, self.name, KINDS)
            with tape.watching():
                logits = question.logits(question.z)
            start = torch.zeros_like(logits).scatter(1, question.target[:, None], 1.0)
            return question.z * propagate(tape, logits, start, attention_rule(self.gamma))


def _verify(question: Question, method: str) -> None:
    """Compare logits and gradient of the calls with the network's own, once for each network.

    Raises:
        ValueError: if they differ: the network hides an operation, or reads what was changed in place.
    """
    z = question.z[:1].detach()
    with torch.no_grad():
        tape = Tape(question.body, z, method, KINDS)
        with tape.watching():
            logits = logits_of(question.body(z), method)
        start = torch.ones_like(logits)
        followed = propagate(tape, logits, start, pulled)
    point = z.clone().requires_grad_()
    direct_logits = logits_of(question.body(point), method)
    gradient = input_gradient(direct_logits, point, start, create_graph=False)
    if not (alike(logits, direct_logits.detach()) and alike(followed, gradient)):
        raise ValueError(
            f"{method} follows a network's calls, and those of {type(question.body).__name__} do not give its own "
            "gradient: it hides an operation (a torch.autograd.Function, a compiled or scripted part), or reads again "
            "what was changed in place. Work out of place and in plain functions, or take a gradient method."
        )
