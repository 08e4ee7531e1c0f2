"""What the sample cannot say: controls, floors, too few images, attacks that fail, analyses that are absent."""

import math
from collections.abc import Mapping

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.sentences import Sentence, all_layers, kind_of, share
from lightning_advinterp.report.page.stored import StoredEvaluation, number

_FEW = 500
"""Images below which a share's interval is wider than ±4 points where it is widest."""
_CONTROLS = {
    "shuffled": "with another image's labels",
    "rotated": "in a rotated basis",
    "random": "with random weights",
}


def limits(evaluation: StoredEvaluation) -> list[Sentence]:
    """Return what keeps the numbers of an evaluation from saying more.

    Args:
        evaluation: of one network.
    """
    sentences: list[Sentence] = []
    for say in (_few_images, _weak_attacks, _searched_in_half, _controls, _unreadable, _left_out):
        sentences += say(evaluation)
    return sentences


def _few_images(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("accuracy", "images", "n", "top1")
    n = min((int(row["n"]) for row in rows if row["n"]), default=_FEW)
    if n >= _FEW or not n:
        return []
    half = 196 * math.sqrt(0.25 / n)
    return [Sentence(f"{n} images: a share of one half is known to about ± {half:.0f} points, no better.", "accuracy")]


def _weak_attacks(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"{kind_of(row)} reaches its goal on {share(row, 'success', interval=False)} of the images only: what "
            f"changes "
            "little under it need not be robust.",
            "accuracy",
        )
        for row in evaluation.rows("accuracy", "images", "success", "eps")
        if row["images"] != REAL and (number(row, "success") or 0.0) < 0.5
    ]


def _searched_in_half(evaluation: StoredEvaluation) -> list[Sentence]:
    passes = (evaluation.record.get("provenance") or {}).get("passes") or {}
    searched, judged = (passes.get(name) for name in ("attacks_search_in", "images_are_judged_in"))
    if searched == judged:
        return []
    return [
        Sentence(
            f"Attacks searched in {searched}, which rounds gradients: they may be weaker than in {judged}. Every "
            f"number of the images that they made was computed in {judged}.",
            "",
        )
    ]


def _controls(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = all_layers(evaluation.rows("dissection_summary", "layer", "images", "category", "ratio"))
    sentences = []
    for row in rows:
        if row["images"] != REAL or row["category"] != "all":
            continue
        controls = [f"{share(row, name, False)} {words}" for name, words in _CONTROLS.items() if row.get(name)]
        if controls:
            text = f"Detectors by chance: beside {share(row, 'ratio')} of the units, {', '.join(controls)}."
            sentences.append(Sentence(text, "dissection_summary"))
        else:
            sentences.append(
                Sentence("The dissection has no control: how many pass by chance is unknown.", "dissection")
            )
    return sentences


def _unreadable(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("semantics_levels", "images", "readable", "kept", "floor", "images_per_class")
    row = next((row for row in rows if row["readable"] == "false"), None)
    if row is None:
        return []
    return [
        Sentence(
            f"LC, CS1 and CS2 rest on {row['kept']} top images of a unit, from {row['images_per_class']} images of "
            f"a class: "
            f"too few to tell units apart; LC cannot fall below {row['floor']}.",
            "semantics_levels",
        )
    ]


def _left_out(evaluation: StoredEvaluation) -> list[Sentence]:
    left_out = evaluation.record.get("left_out")
    items = left_out.items() if isinstance(left_out, Mapping) else ()
    return [Sentence(f"{name} was not run: {reason}", "") for name, reason in items]
