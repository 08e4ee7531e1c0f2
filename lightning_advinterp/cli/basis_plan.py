"""What the command that makes bases is asked to do: every flag of its command line."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lightning_advinterp.cli.evaluation.config import FLAGS_OF_IMAGES, Evaluation
from lightning_advinterp.cli.processes import ProcessChoice
from lightning_advinterp.core.settings import require_least
from lightning_advinterp.core.trust import OnBadWeights
from lightning_advinterp.data.image_folder import OnBadImage, Orientation
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.units.autoencoder import Activation
from lightning_advinterp.units.basis_fitting import Kind

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sae": {
        "latents": 1024,
        "activation": "topk",
        "k": 32,
        "l1": 0.02,
        "learning_rate": 1e-3,
        "steps": 4000,
        "rows": 1024,
        "resample": 250,
    },
    "pca": {"latents": None},
    "nmf": {"latents": 64, "steps": 200},
    "rotation": {},
    "identity": {},
}
"""The settings of each kind; none takes another's."""

_OF_SOURCES = ("activation", "k", "subtracts_bias", "normalized")
_FITTED = tuple(dict.fromkeys(name for settings in DEFAULTS.values() for name in settings))
_LEAST = {"latents": 1, "k": 1, "steps": 1, "rows": 1, "resample": 0, "places": 1, "buffer_mb": 1, "l1": 0}


@dataclass(frozen=True)
class BasisPlan(NetworkChoice, ProcessChoice):
    """Which basis is made, of which layer, from which images.

    Attributes:
        layer: one layer, as evaluate.py's layers name it.
        kind: sae, a sparse autoencoder; pca, principal components; nmf, non-negative parts; rotation, a random one;
            identity, the units themselves.
        data: folder of images: DIR/<class>/*.jpg or DIR/val/<class>/*.jpg, or "concept_world".
        concepts: folder or tar file of a set in Broden's format, whose images are read instead, or "concept_world".
        split: which split of such a folder; of the concept world it is the test pictures.
        image_column: of shards and tables, which part of a sample is the image, as in evaluate.py.
        label_column: likewise the label.
        classes: what the outputs are called, as in evaluate.py.
        limit: use so many images, a seeded choice, even over the classes.
        crop: side of the images.
        orientation: stored takes pixels as they lie in the file, as torchvision does; exif turns images by their EXIF
            orientation.
        on_bad_image: error names an unreadable file and stops; skip leaves it out and warns.
        held_out: share of the images that the basis is measured on, and not fitted to; 0: it is measured on all.
        latents: how many new units; by default 1024 of sae, all of pca, 64 of nmf.
        activation: of sae: topk or relu.
        k: latents that are active at a place, of topk; 32 by default.
        l1: weight of the latents' sum, of relu, where the input's mean squared norm is 1; 0.02 by default.
        learning_rate: of sae's Adam, which falls to zero over the last fifth of the steps; 0.001 by default.
        steps: of sae, 4000 by default; or updates of nmf, 200.
        rows: places in a step of sae; 1024 by default.
        resample: after so many steps sae's latents that were never active are set anew; 250 by default, 0 for never.
        places: so many places of each image are read, drawn anew in every epoch.
        buffer_mb: memory for activations; where all fit into it, the images pass the network once.
        source: a state dict of another library's sparse autoencoder, which becomes a basis of this layer; nothing is
            trained. With data it is measured.
        subtracts_bias: whether the source takes its decoder's bias from the input, where that is not known.
        normalized: whether the source centres each place's units and divides them by their standard deviation.
        batch_size: images at a time.
        device: auto, cpu, cuda, …
        seed: of images, places, order and first directions.
        output: file NAME.safetensors; tables call the basis LAYER@NAME.
        dry_run: fit to a few images in a few steps, print the hours, memory and disk that all take, and stop.
        trust: import the classes that checkpoints name; without it those alone that flags or configuration name too.
        on_bad_weights: error refuses weights that hold NaN, infinity or negative variances; use takes them as they are.
    """

    layer: str = "last"
    kind: Kind = "sae"
    data: str | None = None
    concepts: str | None = None
    split: str = "val"
    image_column: str | None = None
    label_column: str | None = None
    classes: str | None = None
    limit: int | None = None
    crop: int | None = None
    orientation: Orientation = "stored"
    on_bad_image: OnBadImage = "error"
    held_out: float = 0.1
    latents: int | None = None
    activation: Activation | None = None
    k: int | None = None
    l1: float | None = None
    learning_rate: float | None = None
    steps: int | None = None
    rows: int | None = None
    resample: int | None = None
    places: int = 64
    buffer_mb: int = 256
    source: str | None = None
    subtracts_bias: bool | None = None
    normalized: bool | None = None
    batch_size: int = 64
    device: str = "auto"
    seed: int = 0
    output: str = "basis.safetensors"
    dry_run: bool = False
    trust: bool = False
    on_bad_weights: OnBadWeights = "error"

    @property
    def needs_images(self) -> bool:
        """Whether there is nothing to do without images."""
        return self.source is None and self.kind in ("sae", "pca", "nmf")

    def check(self) -> None:
        """Refuse settings that are out of range, or that the kind does not take.

        Raises:
            ValueError: naming the flag.
        """
        require_least(self, _LEAST)
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be a share from 0 to less than 1, got {self.held_out}.")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}.")
        if self.data is not None and self.concepts is not None:
            raise ValueError(f"give either data or concepts, got data={self.data!r} and concepts={self.concepts!r}.")
        if not self.output.endswith(".safetensors"):
            raise ValueError(f"output must be a file NAME.safetensors, got {self.output!r}.")
        if self.source is not None and self.kind != "sae":
            raise ValueError(f"source: {self.source} is a sparse autoencoder, got kind={self.kind}; leave kind out.")
        self._refuse_other_settings()

    def _refuse_other_settings(self) -> None:
        """Refuse what would be passed over in silence."""
        settings = set(_OF_SOURCES) if self.source is not None else set(DEFAULTS[self.kind])
        what = "a source" if self.source is not None else f"kind={self.kind}"
        for name in dict.fromkeys((*_FITTED, *_OF_SOURCES)):
            value = vars(self)[name]
            if value is not None and name not in settings:
                raise ValueError(f"{name}={value} is no setting of {what}; leave it out.")
        if self.source is not None or self.kind != "sae":
            return
        activation = self.activation or DEFAULTS["sae"]["activation"]
        if activation not in ("topk", "relu"):
            raise ValueError(f"activation must be topk or relu to be trained, got {activation}.")
        foreign = "l1" if activation == "topk" else "k"
        if vars(self)[foreign] is not None:
            raise ValueError(f"{foreign}={vars(self)[foreign]} is no setting of activation={activation}; leave it out.")
        completed = self.completed()
        if activation == "topk" and completed["k"] > completed["latents"]:
            raise ValueError(f"k must be at most the {completed['latents']} latents, got {completed['k']}.")

    def completed(self) -> dict[str, Any]:
        """Return the kind's settings, its defaults in the place of what was left out."""
        values = vars(self)
        return {
            name: default if values[name] is None else values[name] for name, default in DEFAULTS[self.kind].items()
        }

    def evaluation(self) -> Evaluation:
        """Return the evaluation that loads the same network and the same images."""
        same = [entry.name for entry in fields(NetworkChoice)]
        same += [*FLAGS_OF_IMAGES, "classes", "limit", "seed", "on_bad_image"]
        shared = {name: vars(self)[name] for name in same}
        return Evaluation(analyses="predictions", attack=None, layers=self.layer, **shared)
