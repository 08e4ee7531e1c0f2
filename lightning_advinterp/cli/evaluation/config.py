"""What an evaluation is asked to do: every flag of the command line, every key of its YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_advinterp.analyses.base.question import Data
from lightning_advinterp.analyses.registry import QUESTIONS, complete_settings, question_class
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Eps
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.attacks.prediction.presets import create_attacks, named_attacks
from lightning_advinterp.attacks.prediction.sweep import swept_attacks
from lightning_advinterp.attacks.prediction.transferred import TransferFrom, transferred_attacks
from lightning_advinterp.cli.evaluation.compared import Compare
from lightning_advinterp.cli.processes import ProcessChoice
from lightning_advinterp.core.names import require_inside
from lightning_advinterp.core.trust import OnBadWeights
from lightning_advinterp.data.image_folder import OnBadImage, Orientation
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.networks.formats import PassChoice
from lightning_advinterp.report.vector import figure_formats

FLAGS_OF_IMAGES = ("data", "concepts", "split", "image_column", "label_column", "crop", "orientation")
"""Flags that say which images are looked at, and how they are read, in every command that looks at images."""


@dataclass(frozen=True)
class TableRow(NetworkChoice):
    """One network of a paper's table; settings that it leaves out are those of the whole table.

    Attributes:
        name: what the table calls it.
        printed: image kind to measure to the paper's value: a share in [0, 1], or the ratio r1 or r2 of distances.
    """

    name: str = field(kw_only=True)
    printed: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_inside(self.name, "rows: name")


@dataclass(frozen=True)
class Evaluation(NetworkChoice, ProcessChoice, PassChoice):
    """What to measure, of which network, on which images.

    Attributes:
        data: folder of images: DIR/<class>/*.jpg or DIR/val/<class>/*.jpg, or "concept_world"; or tar shards of
            WebDataset, "shards/val-{000..009}.tar", or parquet or arrow files of Hugging Face datasets.
        split: which split of them.
        image_column: of shards and tables, which part of a sample is the image, where several may be meant.
        label_column: likewise the label: a column, or a file's ending such as cls or json.label.
        classes: what the outputs are called, where neither checkpoint nor weights say: their names in order, [cat,
            dog], a text file with one name for each output, imagenet, cifar10, or "folders" where the sorted order of
            the class folders is theirs.
        concepts: folder or tar file of a set in Broden's format, for analyses that need one, or "concept_world", which
            needs no download; python -m lightning_advinterp.data.broden --help says how to get Broden, and what to do
            where its server is down.
        analyses: names, separated by commas, or "all" (those that need concepts only where these are given).
        attack: an attack's name, several separated by commas, one attack's settings {name, type, eps, steps, target, …}
            (a single one also as --attack.steps 20), or a list of names and settings; null for none.
        transfer_from: a checkpoint, {network: NAME, weights: FILE}, or the folder of a stored set; or several. Every
            attack NAME is then made on the network under test (NAME), on each other one (NAME_from_…) and on all of
            them together (NAME_ensemble), and all images are shown to the network under test.
        eps: radius of the attacks: a fraction of the pixel range, or a string such as 4/255, which is every attack's
            own by default but for L2, which has none. Several radii, 2/255,4/255,8/255, are an attack each, and a curve
            of accuracy over eps. An attack whose settings say eps: [low, high] draws it per image.
        steps: steps of the attacks (single-step attacks have one whatever is said here).
        layers: all, all_conv, all_mlp, all_heads, all_blocks, last, or layer names, separated by commas; a name may
            have a part, such as blocks.3:class; the analysis' own by default.
        compare: a checkpoint, {network: NAME, weights: FILE}, or the folder of another evaluation, which is taken as it
            is; or several, one after the other. They stand in OUTPUT/compare, OUTPUT/compare-2, …; networks are
            evaluated alike, with settings of their own where those of the network are meant.
        rows: networks of a paper's table, evaluated alike into OUTPUT/<name>; one that is absent is left out.
        images: image files, for analyses of single images.
        resize: shorter side of an image before the crop; the weights' own recipe by default.
        crop: side of the centre crop that the network sees, and is built for unless input_size says otherwise.
        device: auto, cpu, cuda, cuda:1, …
        batch_size: images at a time.
        memory: GiB that a process may hold, on a CUDA device its tensors there. Activations of many kinds of images are
            computed again where they do not fit, with the same numbers; a batch that cannot fit is split.
        num_workers: processes that load images.
        limit: use so many images, a seeded choice, even over the classes.
        calibration_images: attacks whose weight is ``calibrate`` get it on so many images, a seeded choice of those
            that are not reported on.
        least_success: attacks that reach their goal on a smaller share of the images are warned of.
        seed: of that choice and of the attacks' random numbers.
        on_bad_image: error names an unreadable file and stops; skip leaves it out and warns.
        orientation: stored takes pixels as they lie in the file, as torchvision does; exif turns images by their EXIF
            orientation.
        questions: settings of the analyses by name: on the command line --NAME.KEY, in a YAML file NAME: {KEY: ...}.
            layers and seed are those above where they are given.
        figures: formats of the figures, png,svg,pdf; PNG is always written, the page shows it. SVG and PDF have the
            width of one printed column or of two, and their fonts inside.
        output: folder for tables, figures and the page.
        dry_run: print what would be done, how many passes it takes, and after a trial the hours, memory and disk that
            it takes, and stop.
        trial_seconds: about how long the trial of a dry run may pass images, for each network; 0: no trial.
        trust: import the classes that checkpoints name; without it those alone that flags or configuration name too.
        on_bad_weights: error refuses weights that hold NaN, infinity or negative variances, and outputs that are no
            numbers; use takes them as they are.
    """

    data: str | None = None
    split: str = "val"
    image_column: str | None = None
    label_column: str | None = None
    classes: str | list[str] | None = None
    concepts: str | None = None
    analyses: str | list[str] = "accuracy"
    attack: Attacks = "fgsm"
    transfer_from: TransferFrom = None
    eps: Eps | None = None
    steps: int | None = None
    layers: str | list[str] | None = None
    compare: Compare = None
    rows: tuple[TableRow, ...] = ()
    images: list[str] = field(default_factory=list)
    resize: int | None = None
    crop: int | None = None
    device: str = "auto"
    batch_size: int = 64
    memory: float | None = None
    num_workers: Workers = "auto"
    limit: int | None = None
    calibration_images: int = 64
    least_success: float = 0.1
    seed: int = 0
    on_bad_image: OnBadImage = "error"
    orientation: Orientation = "stored"
    questions: Mapping[str, Any] = field(default_factory=dict)
    figures: str | list[str] = "png"
    output: str = "evaluation"
    dry_run: bool = False
    trial_seconds: float = 60.0
    trust: bool = False
    on_bad_weights: OnBadWeights = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"memory must be above 0 GiB, got {self.memory}.")
        if not self.trial_seconds >= 0:
            raise ValueError(f"trial_seconds must be 0 or more, got {self.trial_seconds}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be 1 or more images, got {self.limit}.")
        figure_formats(self.figures)
        names = [] if self.asks_for_all else self.asked
        object.__setattr__(self, "questions", complete_settings(self.questions, names))

    @property
    def memory_limit(self) -> int | None:
        """Bytes that a process may hold; None: as many as there are."""
        return None if self.memory is None else round(self.memory * 2**30)

    @property
    def asked(self) -> list[str]:
        """The analyses as they were named."""
        names = self.analyses.split(",") if isinstance(self.analyses, str) else self.analyses
        return [name.strip() for name in names if name.strip()]

    @property
    def asks_for_all(self) -> bool:
        """Whether every question is asked that can be answered."""
        return self.asked == ["all"]

    def question_names(self, data: Data | None = None) -> list[str]:
        """Return the questions that are asked, or those of them that look at one kind of data.

        Raises:
            ValueError: if there is none.
        """
        names = [question_class(name).name for name in self.asked if name != "all"]
        if self.asks_for_all:
            names = [name for name, kind in QUESTIONS.items() if kind.data == "data" or self.concepts is not None]
        if not names:
            raise ValueError(f"analyses: expected at least one of {', '.join(QUESTIONS)}, or all.")
        return [name for name in dict.fromkeys(names) if data in (None, self.questions[name].data)]

    def attack_configs(self) -> dict[str, AttackConfig]:
        """Return the attacks' settings by name."""
        if self.calibration_images < 1:
            raise ValueError(f"calibration_images must be 1 or more images, got {self.calibration_images}.")
        if not 0 <= self.least_success <= 1:
            raise ValueError(f"least_success must be a share from 0 to 1, got {self.least_success}.")
        swept = swept_attacks(self.attack, self.eps, self.steps)
        return named_attacks(transferred_attacks(swept, self.transfer_from))

    def attacks(self, weights: Mapping[str, float] | None = None) -> dict[str, Attack]:
        """Return the attacks by name, with the weights found for those that are calibrated.

        Where such a weight is missing, the attack has another: it says what it costs, and is not for use.
        """
        weights_by_name = weights or {}
        configs = self.attack_configs().items()
        return create_attacks(
            [c.with_weight(weights_by_name.get(name, 1.0)) if c.calibrated else c for name, c in configs]
        )
