"""The settings of semantics and distances."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightning_advinterp.analyses.base.classes import TargetClasses, semantic_classes
from lightning_advinterp.analyses.distances.analysis import Pool
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.metrics.semantics_curve import BINNINGS, Binning
from lightning_advinterp.taxonomy.wordnet import Tree, UnconfirmedGuess
from lightning_advinterp.units.maps import Reduce


@dataclass(frozen=True)
class SemanticsConfig:
    """How units get a meaning.

    Attributes:
        layers: ``all_conv``, ``all``, ``all_mlp``, ``all_heads``, ``all_blocks``, ``last``, or names.
        share: of the images that count as a unit's top images; 1 % in the paper.
        reduce: an image's activation of a unit is the ``max`` or the ``mean`` over all places.
        target_classes: ``dataset``: distributions, targets and predictions are taken over the classes of the images,
            and attacks that choose their targets choose them there; ``all``: over all outputs of the network.
        tree: which WordNet distance, ``nltk``, ``undirected`` or ``contracted``.
        sigma: σ of Eq. 10.
        psd_project: make C positive semi-definite where it is not.
        hierarchy: a CSV of parent links, or a matrix of distances, instead of WordNet.
        wnids: class name to wnid, for classes that are not named by wnids.
        accept_guesses: take WordNet's first sense of other class names; the guesses are printed.
        sample: at most so many images decide whether units follow content or prediction.
        by_success: measure the images on which an attack succeeds apart from those on which it fails too.
        bins: of LC in the curve of CS against LC.
        binning: ``equal`` widths on [0, 1]; ``quantile``: equal numbers of units, for units that lie close together;
            ``dong2017``: that paper's uneven axis from LC .018 to .355, with 10 to 12 bins there, the same for all
            networks, and one bin on either side for the units beyond.
        pool: distances compare φ whole (``none``), or each channel's ``mean`` or ``max`` over all places, which takes
            that much less memory.
    """

    layers: str | tuple[str, ...] = "all_conv"
    share: float = 0.01
    reduce: Reduce = "max"
    target_classes: TargetClasses = "dataset"
    tree: Tree = "nltk"
    sigma: float = 1.0
    psd_project: bool = False
    hierarchy: str | None = None
    wnids: Mapping[str, str] = field(default_factory=dict)
    accept_guesses: bool = False
    sample: int = 2000
    by_success: bool = False
    pool: Pool = "none"
    bins: int = 20
    binning: Binning = "equal"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share}.")
        if not self.sigma > 0:
            raise ValueError(f"sigma must be above 0, got {self.sigma}.")
        if self.bins < 1:
            raise ValueError(f"bins must be 1 or more, got {self.bins}.")
        if self.binning not in BINNINGS:
            raise ValueError(f"binning must be one of {', '.join(BINNINGS)}, got {self.binning!r}.")
        if self.sample < 1:
            raise ValueError(f"sample must be 1 or more images, got {self.sample}.")

    def classes(
        self, classes: Sequence[str], names: Sequence[str], images: ImageSet | None, *, key: str = "semantics"
    ) -> ClassSpace:
        """Return the classes that are compared.

        Args:
            classes: wnid or name of every output of the network.
            names: readable names; empty for none.
            images: their labels, where these are known, say which outputs are classes of the images.
            key: where a configuration holds these settings, for messages.

        Raises:
            ValueError: if classes have no synsets; says what to do.
        """
        labels = None if images is None else images.labels
        try:
            return semantic_classes(
                classes,
                names or None,
                labels=None if labels is None else {int(label) for label in labels},
                target_classes=self.target_classes,
                tree=self.tree,
                sigma=self.sigma,
                psd_project=self.psd_project,
                hierarchy=self.hierarchy,
                wnids=self.wnids,
                accept_guesses=self.accept_guesses,
            )
        except UnconfirmedGuess as error:
            shown = "\n".join(f"  {guess}" for guess in error.guesses)
            example = json.dumps({error.guesses[0].name: "n02084071"})
            raise ValueError(
                f"{key}: {len(error.guesses)} classes are named by no wnid. WordNet says:\n{shown}\n"
                f"If the first senses are right, give --{key}.accept_guesses true; else say which are meant, as in "
                f"--{key}.wnids '{example}', or give distances of your own, --{key}.hierarchy FILE."
            ) from None
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):
                raise
            raise ValueError(  # nltk's corpus is not here
                f"{key}: {error.args[0]} Or give the wnids, --{key}.wnids '{{…}}', or --{key}.hierarchy FILE."
            ) from None
