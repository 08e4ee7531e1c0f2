"""How far explanations can be changed while the prediction stays: methods × attacks × radii (Ghorbani et al. 2019)."""

import time

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.fragility.config import Case, FragilityConfig
from lightning_advinterp.analyses.fragility.cost import cost
from lightning_advinterp.analyses.fragility.others import OtherImages
from lightning_advinterp.analyses.fragility.pictures import pictures_of_state
from lightning_advinterp.analyses.fragility.state import FragilityState, Picture, as_grey, as_image
from lightning_advinterp.analyses.fragility.tables import largest, tables_of
from lightning_advinterp.analyses.fragility.warnings import warn
from lightning_advinterp.attacks.explanation.config import create_explanation_attack
from lightning_advinterp.attacks.explanation.dissimilarity import Dissimilarity, TargetMap, Undirected
from lightning_advinterp.attacks.explanation.explanation import ExplanationAttack
from lightning_advinterp.core.randomness import mixed_seed, sample_keys, uniform
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.explanations import (
    Gradient,
    IntegratedGradients,
    Method,
    Occlusion,
    PatternAttribution,
    create_explanations,
)
from lightning_advinterp.metrics.faithfulness import deletion_insertion
from lightning_advinterp.metrics.heatmaps import (
    compare_images,
    compare_inputs,
    compare_maps,
    compare_to_target,
    says_nothing,
    silent_when,
)
from lightning_advinterp.networks.activations import warn_without_surrogate
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_relu

_POOL = 0x706F6F6C  # "pool"
FIRST = ("topk", "spearman", "center_shift")
"""The measures that stand first in the table."""
INPUTS = ("label_kept", "linf", "l2", "delta_p", "delta_output")


class FragilityAnalysis(Summed):
    """Attacks every explanation of correctly classified images, and compares maps, inputs and predictions.

    Tables: ``fragility``, a row per image, method, attack and radius; ``fragility_summary``, their medians with 95 %
    intervals and 10 and 90 % quantiles, beside the similarity of two different images' maps; ``fragility_methods``,
    deletion and insertion of every method and of a random map, how often the network with a method's softplus keeps
    the class (``smooth_kept``), and why a preset's method was left out;
    ``fragility_convergence``, the course of the attacks' objectives. See ``docs/fragility.md`` for the columns.

    Scalars are medians at an attack's largest radius, ``fragility/{method}/{attack}/{measure}``, with the attack
    ``other_image`` for the reference level, and ``fragility/images``, ``fragility/skipped`` (classified wrongly) and
    ``fragility/left`` (no time).

    The first run over the data chooses a few other images, the second one measures. All numbers belong to an image and
    do not depend on batches or processes, unless a time limit leaves images out.

    Args:
        config: what is measured.
    """

    name = "fragility"
    summed = ("state",)

    def __init__(self, config: FragilityConfig | None = None) -> None:
        self.config = config or FragilityConfig()
        self.methods: dict[str, Method] = create_explanations(self.config.chosen_methods())
        self.cases: list[Case] = self.config.cases()
        self.state = FragilityState(self.config.pool, self.config.show)
        self.refused: dict[str, str] = {}
        self._network: Network | None = None
        self._attacks: dict[int, ExplanationAttack] = {}
        self._others: OtherImages | None = None
        self._drawn: set[int] = set()
        self._started: float | None = None
        self._per_image = 0.0

    @property
    def time_limit(self) -> float | None:
        """Seconds of the attacks on each process; None: as long as they take."""
        return self.config.seconds

    def bind(self, network: Network) -> Plan:
        """Two sweeps over real images; the attacks are its own.

        Raises:
            ValueError: if an explanation that was asked for refuses the network.
        """
        self._network = network
        self._try_methods(network)
        climbing = [case.attack for case in self.cases if case.attack.type != "random_sign"]
        if any(attack.softplus != 0 for attack in climbing):
            warn_without_surrogate(network, self.name)
        passes = cost(self.cases, self.methods, self.config, network.input_size)
        measured = Sweep(batch=2 * self.config.batch_size)  # some are classified wrongly and fall out
        return Plan((Sweep(), measured), passes=passes)

    def _try_methods(self, network: Network) -> None:
        """Leave out a preset's methods that refuse the network; those that were asked for must fit."""
        for name, method in list(self.methods.items()):
            if isinstance(method, Occlusion):
                continue  # it fits everywhere
            parameter = next(network.parameters())
            size = (1, len(network.mean), network.input_size, network.input_size)
            x = torch.full(size, 0.5, device=parameter.device, requires_grad=True)
            # Sums of gradients fit where one gradient does, which is quicker.
            probe = Gradient() if isinstance(method, Gradient | IntegratedGradients) else method
            try:
                probe.explain(network, x, torch.zeros(1, dtype=torch.int64, device=x.device), create_graph=True)
            except ValueError as error:
                learnt = isinstance(method, PatternAttribution) and self.config.patterns is not None
                setting = "patterns" if learnt else "methods"
                if getattr(self.config, setting) is not None:
                    raise ValueError(f"fragility.{setting}: {name}: {error}") from None
                self.refused[name] = str(error)
                del self.methods[name]
        self.cases = [case for case in self.cases if {case.method, case.attacked} <= set(self.methods)]
        self._drawn = set(largest(self.cases))

    def update(self, sweep: int, observation: Observation) -> None:
        """Choose other images, or measure."""
        images = observation.images[REAL]
        correct = observation.logits[REAL].argmax(1) == observation.label
        self.state.skipped |= set(observation.index[~correct].tolist())
        index, x, y = observation.index[correct], images[correct], observation.label[correct]
        if sweep == 0:
            for number, label, image in zip(index.tolist(), y.tolist(), x, strict=True):
                self.state.offer(number, mixed_seed(self.config.seed, number, _POOL), label, image)
            return
        while len(index):
            count = self._affordable(min(len(index), self.config.batch_size))
            if count == 0:
                self.state.left |= set(index.tolist())
                return
            began = time.monotonic()
            self._measure(index[:count], x[:count], y[:count])
            self._per_image = (time.monotonic() - began) / count
            index, x, y = index[count:], x[count:], y[count:]

    def _affordable(self, most: int) -> int:
        """Return how many images there is time for: at first one, which is always taken and shows how long it takes."""
        if self.config.seconds is None:
            return most
        if self._started is None:
            self._started = time.monotonic()
            return 1
        seconds_left = self.config.seconds - (time.monotonic() - self._started)
        return min(most, int(max(seconds_left, 0.0) / max(self._per_image, 1e-9)))

    def _measure(self, index: Tensor, x: Tensor, y: Tensor) -> None:
        network, numbers, state = self._network, index.tolist(), self.state
        assert network is not None
        if self._others is None:
            self._others = OtherImages(network, state.pool, self.methods, self.config.seed)
        keys = sample_keys(index, seed=self.config.seed)
        with torch.no_grad():
            logits = network(x)
        for number, image in zip(numbers, x, strict=True):
            state.rows.setdefault(number, {})
            if state.shows(number):
                state.pictures[number] = Picture(as_image(image))
        state.trim()
        for name, method in self.methods.items():
            maps = method.map(network, x, y, keys=keys)
            for number, heatmap, silent in zip(numbers, maps, says_nothing(maps).tolist(), strict=True):
                state.no_map.setdefault(number, {})[name] = silent
                if number in state.pictures:
                    state.pictures[number].maps[name] = as_grey(heatmap)
                similar = self._others.similarity(name, number, heatmap, self.config.k)
                if similar is not None:
                    state.others.setdefault(number, {})[name] = similar
            self._judge(name, numbers, x, y, maps)
            self._smooth(name, method, numbers, x, y)
            for case in (case for case, candidate in enumerate(self.cases) if candidate.method == name):
                self._attack(case, numbers, x, y, keys, maps, logits)
        self._judge("random", numbers, x, y, uniform(keys, x.shape[2:]))

    def _attack(
        self, number: int, numbers: list[int], x: Tensor, y: Tensor, keys: Tensor, maps: Tensor, logits: Tensor
    ) -> None:
        case, network, attack = self.cases[number], self._network, self._attack_of(number)
        assert network is not None
        if attack is None:
            return
        result = attack.run(network, x, y, keys=keys)
        with torch.no_grad():
            after = network(result.x_adv)
        moved = self.methods[case.method].map(network, result.x_adv, y, keys=keys)
        columns = compare_maps(maps, moved, k=self.config.k)
        columns = {name: columns[name] for name in FIRST} | columns
        inputs = compare_inputs(x, result.x_adv, logits, after, y)
        columns |= {name: inputs[name] for name in INPUTS} | {"success": result.success}
        columns |= compare_images(x, result.x_adv)
        columns |= _towards(attack.dissimilarity, maps, moved)
        values = {name: column.tolist() for name, column in columns.items()}
        no_map = silent_when(maps, moved)
        targets = (attack.dissimilarity.reference(maps),) if isinstance(attack.dissimilarity, TargetMap) else ()
        head: Row = {"method": case.method, "attack": case.attack.label_name, "eps": case.eps}
        for place, image in enumerate(numbers):
            row = head | {name: column[place] for name, column in values.items()}
            self.state.rows[image][number] = row | {"no_map": no_map[place]}
            if not isinstance(attack.dissimilarity, Undirected):
                self.state.courses.setdefault(image, {})[number] = result.trace[:, place].float().cpu().clone()
            if image in self.state.pictures and number in self._drawn:
                drawn = (as_image(result.x_adv[place]), as_grey(moved[place]))
                self.state.pictures[image].cases[number] = (*drawn, *(as_grey(each[place]) for each in targets))

    def _attack_of(self, number: int) -> ExplanationAttack | None:
        """Return a case's attack; None where it aims at other images' maps and there are none."""
        if number not in self._attacks:
            case, target = self.cases[number], None
            assert self._others is not None
            if case.attack.type == "target_map" and case.attack.target is None:
                if len(self._others) < 2:
                    return None
                target = self._others.maps(case.attacked)
            self._attacks[number] = create_explanation_attack(case.attack, self.methods[case.attacked], target=target)
        return self._attacks[number]

    def _smooth(self, name: str, method: Method, numbers: list[int], x: Tensor, y: Tensor) -> None:
        """Note whether the network with a method's softplus for relu has the same class."""
        if method.softplus is None:
            return
        assert self._network is not None
        with torch.no_grad(), smoothed_relu(method.softplus):
            class_kept = self._network(x).argmax(1) == y
        for number, same in zip(numbers, class_kept.tolist(), strict=True):
            self.state.smooth_kept.setdefault(number, {})[name] = same

    def _judge(self, method: str, numbers: list[int], x: Tensor, y: Tensor, maps: Tensor) -> None:
        """Note the areas under the deletion and insertion curves of the class' probability."""
        network = self._network
        assert network is not None
        if not self.config.faithfulness:
            return

        def score(images: Tensor) -> Tensor:
            logits: Tensor = network(images)
            return logits.float().softmax(1).gather(1, y[:, None])[:, 0]

        mean = torch.tensor(network.mean, device=x.device, dtype=x.dtype)[:, None, None]
        areas = deletion_insertion(score, x, maps, mean, self.config.faithfulness)
        for number, deletion, insertion in zip(numbers, *(values.tolist() for values in areas), strict=True):
            curves = {"deletion": deletion, "insertion": insertion}
            self.state.faithfulness.setdefault(number, {})[method] = curves

    def settle(self, sweep: int) -> None:
        """The choice of other images is final."""
        self._attacks, self._others = {}, None

    def result(self) -> Result:
        """Return the tables and the scalars."""
        tables, scalars = tables_of(self.state, self.cases, self.refused)
        warn(self.state, self.methods, tables["fragility_methods"])
        pictures, arrays = pictures_of_state(self.state, self.cases)
        return Result(self.name, scalars, tables | {"fragility_pictures": pictures}, arrays)


def _towards(aim: Dissimilarity, maps: Tensor, moved: Tensor) -> dict[str, Tensor]:
    """Return what an attack maximises, before and after, on the network itself, and how near it came to its target."""
    if isinstance(aim, Undirected):
        return {}
    reference = aim.reference(maps)
    columns = {"aim_before": aim.gain(maps, reference), "aim": aim.gain(moved, reference)}
    if isinstance(aim, TargetMap):
        for when, heatmaps in (("_before", maps), ("", moved)):
            similar = compare_to_target(heatmaps, reference)
            columns |= {f"target_{name}{when}": values for name, values in similar.items()}
    return columns
