"""What the sample cannot say: controls, floors, too few images, attacks that fail, analyses that are absent."""

import math
from collections.abc import Mapping

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.sentences import Sentence, kind_of, real_detectors, share, value
from lightning_advinterp.report.page.stored import StoredEvaluation, TextRow, number

_FEW = 500
"""Images below which a share's interval is wider than ±4 points where it is widest."""
_FEW_MAPS = 30
"""Images below which a mean of maps' similarity is called uncertain: Student's interval is wide there."""
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
    for say in (_few_images, _few_maps, _weak_attacks, _searched_in_half, _controls, _unreadable, _left_out):
        sentences += say(evaluation)
    return sentences


def _few_images(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("accuracy", "images", "n", "top1")
    n = min((int(row["n"]) for row in rows if row["n"]), default=_FEW)
    if n >= _FEW or not n:
        return []
    half = 196 * math.sqrt(0.25 / n)
    text = f"With {n} images, an accuracy near 50 % is known to about ± {half:.0f} percentage points."
    return [Sentence(text, "accuracy")]


def _few_maps(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("fragility_summary", "n")
    counts = [int(count) for row in rows if (count := number(row, "n"))]
    if not counts or min(counts) >= _FEW_MAPS:
        return []
    return [
        Sentence(
            f"How fragile explanations are was measured on {min(counts)} images. Another choice of so few may give "
            "another mean; fragility.limit takes more.",
            "fragility_summary",
        )
    ]


def _weak_attacks(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"{kind_of(row)} reaches its goal on only {share(row, 'success', interval=False)} of the images: what "
            "changes little under it need not be robust.",
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
    sentences = []
    for row in real_detectors(evaluation):
        if row["images"] != REAL:
            continue
        controls = [f"{words} {share(row, name, False)}" for name, words in _CONTROLS.items() if row.get(name)]
        if controls:
            text = f"Units detect concepts by chance, too: {', '.join(controls)} of them; the network's own "
            text += f"{share(row, 'ratio')}.{_verdict(row)}"
            sentences.append(Sentence(text, "dissection_summary"))
        else:
            text = "The dissection has no control: how many units would detect a concept by chance is unknown."
            sentences.append(Sentence(text, "dissection"))
    return sentences


def _verdict(row: TextRow) -> str:
    """Return what follows where a control reaches the interval of the share of detectors."""
    least = number(row, "ratio_low")
    reaching = [words for name, words in _CONTROLS.items() if least is not None and (number(row, name) or 0.0) >= least]
    if not reaching:
        return ""
    return f" The network's share is not clearly above that {' or '.join(reaching)}."


def _unreadable(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("semantics_levels", "images", "readable", "kept", "floor", "images_per_class")
    row = next((row for row in rows if row["readable"] == "false"), None)
    if row is None:
        return []
    return [
        Sentence(
            f"LC, CS1 and CS2 rest on {row['kept']} images for each unit, with {row['images_per_class']} images per "
            f"class. That is too few to tell units apart; LC cannot fall below {value(row, 'floor')}.",
            "semantics_levels",
        )
    ]


def _left_out(evaluation: StoredEvaluation) -> list[Sentence]:
    left_out = evaluation.record.get("left_out")
    items = left_out.items() if isinstance(left_out, Mapping) else ()
    return [Sentence(f"{name} was not run: {reason}", "") for name, reason in items]
