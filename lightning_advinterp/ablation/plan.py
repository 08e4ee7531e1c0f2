"""What an ablation compares: arms, seeds, test images and attacks."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lightning_advinterp.ablation.masking import Masking
from lightning_advinterp.ablation.measures import Measures, evaluation_of
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.core.names import require_inside
from lightning_advinterp.core.shipped import configuration


@dataclass(frozen=True)
class Plan:
    """One ablation; every arm has the same start, data, budget and seeds.

    Attributes:
        base: configurations of ``train.py`` that all arms share: data, network, budget.
        arms: name of an arm to the configuration laid over the base; flags of ``train.py`` may follow the path.
        seeds: every arm is trained once from each.
        reference: the arm that the others are compared with; the first one if left out.
        train: further flags of ``train.py`` for all arms, such as ``--data.init_args.root=DIR``.
        data: test images, as in ``evaluate.py``: a folder, or concept_world.
        split: split of such a folder.
        limit: number of test images, a seeded choice; all if left out.
        attack: the attacks of the test, the same for all arms.
        checkpoints: which checkpoints of a run are tested: ``last`` (no choice), ``best`` (chosen on validation);
            none for a plan that chooses settings, whose arms are compared on validation images alone.
        masking: checks for masked gradients; null for none.
        measures: analyses of ``evaluate.py`` on the networks of some arms; null for none.
        batch_size: test images at a time.
        output: folder for the runs, their evaluations and the table.
        arm: train and test this one alone, from one seed, and write no table: a scheduler starts such runs side by
            side, and the same command without arm and seed collects them.
        seed: of that run.
        dry_run: say what is complete and what is to be done, and what the missing trainings take, and stop.
        trial_seconds: about how long a dry run may train each arm for that; 0: it does not.
        trust: import the classes that checkpoints name; without it those alone that the plan's configurations name too.
    """

    base: list[str]
    arms: dict[str, str]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    reference: str | None = None
    train: list[str] = field(default_factory=list)
    data: str = "concept_world"
    split: str = "val"
    limit: int | None = None
    attack: Attacks = (AttackConfig("fgsm"), AttackConfig("pgd", steps=20))
    checkpoints: list[str] = field(default_factory=lambda: ["last", "best"])
    masking: Masking | None = None
    measures: Measures | None = None
    batch_size: int = 100
    output: str = "runs/ablation"
    arm: str | None = None
    seed: int | None = None
    dry_run: bool = False
    trial_seconds: float = 20.0
    trust: bool = False

    def check(self) -> None:
        """Refuse a plan that would fail hours later.

        Raises:
            ValueError: naming the key.
            FileNotFoundError: if a configuration is missing.
        """
        if not self.arms or not self.seeds:
            raise ValueError(f"arms and seeds must not be empty, got arms={list(self.arms)} and seeds={self.seeds}.")
        for arm in self.arms:
            require_inside(arm, "arms: name")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ from each other, got {self.seeds}.")
        if self.reference is not None and self.reference not in self.arms:
            raise ValueError(f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}.")
        if (self.arm is None) != (self.seed is None):
            raise ValueError(f"arm and seed name one run together, got arm={self.arm!r} and seed={self.seed}.")
        if self.arm is not None and (self.arm not in self.arms or self.seed not in self.seeds):
            raise ValueError(
                f"arm and seed must be among {', '.join(self.arms)} and {', '.join(map(str, self.seeds))}, got "
                f"{self.arm!r} and {self.seed}."
            )
        if not self.trial_seconds >= 0:
            raise ValueError(f"trial_seconds must be 0 or more, got {self.trial_seconds}.")
        wrong = sorted(set(self.checkpoints) - {"last", "best"})
        if wrong:
            raise ValueError(f"checkpoints must be last, best, both or none, got {self.checkpoints}.")
        if self.masking is not None:
            for flag, names in (("source", [self.masking.source]), ("autoattack", self.masking.autoattack)):
                if not set(names) <= set(self.arms):
                    raise ValueError(f"masking.{flag} must be among the arms {', '.join(self.arms)}, got {names}.")
        if self.measures is not None:
            if not set(self.measures.arms) <= set(self.arms):
                raise ValueError(
                    f"measures.arms must be among the arms {', '.join(self.arms)}, got {self.measures.arms}."
                )
            for flags in self.measures.evaluations.values():
                evaluation_of(flags, Path("last.ckpt"), Path(self.output)).attack_configs()
        for path in (*self.base, *(shlex.split(arm)[0] for arm in self.arms.values())):
            if not Path(configuration(path)).is_file():
                raise FileNotFoundError(f"base and arms must name configurations, but there is no file {path}.")

    @property
    def the_reference(self) -> str:
        """The arm that the others are compared with."""
        return self.reference or next(iter(self.arms))

    @property
    def runs(self) -> list[tuple[str, int]]:
        """All arms and seeds, seed by seed, so that whole comparisons come first; or the one that is asked for."""
        if self.arm is not None and self.seed is not None:
            return [(self.arm, self.seed)]
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    def run_folder(self, arm: str, seed: int) -> Path:
        """Return where one training run lies."""
        return Path(self.output) / f"{arm}-{seed}"

    def test_folder(self, arm: str, seed: int, checkpoint: str) -> Path:
        """Return where one evaluation lies: ``last``, ``best``, ``masking``, ``autoattack`` or a measure's name."""
        return self.run_folder(arm, seed) / "test" / checkpoint

    def command(self, arm: str, seed: int) -> list[str]:
        """Return the flags of ``train.py`` for one run: what reproduces it alone."""
        config, *flags = shlex.split(self.arms[arm])
        configs = [flag for path in (*self.base, config) for flag in ("--config", path)]
        place = ["--output", self.output, "--name", f"{arm}-{seed}", "--compare_with_standard", "false"]
        return [*configs, *flags, *self.train, "--seed_everything", str(seed), *place]
