"""What an evaluation says, in words: every sentence holds its numbers, and names the table that they stand in."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.stored import StoredEvaluation, TextRow, number
from lightning_advinterp.report.table import condition, percent


class Sentence(NamedTuple):
    """A sentence of the first screen.

    Attributes:
        text: plain text.
        table: whose numbers it has.
    """

    text: str
    table: str


def found(evaluation: StoredEvaluation) -> list[Sentence]:
    """Return what an evaluation says, analysis by analysis; an analysis that was not asked says nothing."""
    sentences: list[Sentence] = []
    for say in (_accuracy, _dissection, _retention, _semantics, _distances, _fragility, _influence, _sensitivity):
        sentences += say(evaluation)
    for say in (_detection, _promotion, _tracing, _curvature):
        sentences += say(evaluation)
    return sentences


def kind_of(row: TextRow) -> str:
    """Return the kind of images of a row: ``real``, or the attack with its radius."""
    name = {"images": row.get("images") or row.get("attack") or ""}
    return condition({**name, "eps": number(row, "eps"), "norm": row.get("norm"), "eps_low": number(row, "eps_low")})


def share(row: TextRow, column: str, interval: bool = True) -> str:
    """Return a share of a row in per cent, with its 95 % interval where it has one."""
    low, high = (number(row, f"{column}_{end}") if interval else None for end in ("low", "high"))
    return f"{percent(number(row, column), low, high).replace(' [', ' % [')}{'' if low is not None else ' %'}"


def value(row: TextRow, column: str) -> str:
    """Return a number of a row to three digits, with its 95 % interval where it has one."""
    middle, low, high = (number(row, name) for name in (column, f"{column}_low", f"{column}_high"))
    if middle is None:
        return "–"
    return f"{middle:.3g}" if low is None or high is None else f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def all_layers(rows: Iterable[TextRow]) -> list[TextRow]:
    """Return the rows of all layers together; of the last layer where no row says ``all``."""
    listed = list(rows)
    layers = list(dict.fromkeys(row["layer"] for row in listed))
    chosen = "all" if "all" in layers else layers[-1] if layers else None
    return [row for row in listed if row["layer"] == chosen]


def layer_words(layer: str) -> str:
    """Return how a sentence names a layer."""
    return "all layers together" if layer == "all" else f"layer {layer}"


def _accuracy(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(f"It is right on {share(row, 'top1')} of {row['n']} images: {kind_of(row)}.", "accuracy")
        for row in evaluation.rows("accuracy", "images", "n", "top1", "eps")
    ]


def _dissection(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("dissection_summary", "layer", "images", "category", "ratio", "units")
    return [
        Sentence(
            f"{share(row, 'ratio')} of the {row['units']} units ({layer_words(row['layer'])}) detect a concept on "
            f"these "
            f"images: {kind_of(row)}.",
            "dissection_summary",
        )
        for row in all_layers(rows)
        if row["category"] == "all"
    ]


def _retention(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("dissection_retention_summary", "layer", "images", "change", "same_concept", "detectors")
    by_kind: dict[str, dict[str, TextRow]] = {}
    for row in all_layers(rows):
        by_kind.setdefault(row["images"], {})[row["change"]] = row
    halves = next((kinds["split_half"] for kinds in by_kind.values() if "split_half" in kinds), None)
    sentences = []
    for kinds in by_kind.values():
        if "attack" not in kinds:
            continue
        row = kinds["attack"]
        text = f"Of {row['detectors']} detectors, {share(row, 'same_concept')} keep their concept under {kind_of(row)}"
        if "noise" in kinds:
            text += f"; under noise as large {share(kinds['noise'], 'same_concept')}"
        if halves is not None:
            text += f"; from one half of the real images to the other {share(halves, 'same_concept')}"
        sentences.append(Sentence(f"{text}.", "dissection_retention_summary"))
    return sentences


def _semantics(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = all_layers(evaluation.rows("semantics_layers", "layer", "images", "lc"))
    sentences = []
    for row in rows:
        where = layer_words(row["layer"])
        if row["images"] == REAL:
            text = f"In {where}, one class rules a unit's strongest images to LC = {value(row, 'lc')}"
            text += f" (a random ranking has {value(row, 'chance_lc')})."
        else:
            text = f"In {where} under {kind_of(row)}, the units' images keep their classes to CS1 = {value(row, 'cs1')}"
            ceiling = f", halves of the real images {value(row, 'cs_halves')}" if row.get("cs_halves") else ""
            text += f" (chance {value(row, 'chance_cs1')}{ceiling});"
            text += f" the targets take over to CS2 = {value(row, 'cs2')} (chance {value(row, 'chance_cs2')})."
        sentences.append(Sentence(text, "semantics_layers"))
    return sentences


_RATIOS = {
    "r_src": "above 1, it lies farther from its own source than images of its class do",
    "r_tgt": "below 1, it lies nearer to the target's class than to its own",
}


def _distances(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"Under {kind_of(row)}, an image's {row['ratio']} in feature space has a median of "
            f"{value(row, 'median')} and is "
            f"above 1 on {share(row, 'share_above_one')} of {row['n']} images ({_RATIOS[row['ratio']]}).",
            "distances",
        )
        for row in evaluation.rows("distances", "images", "ratio", "median", "share_above_one", "n")
        if row["ratio"] in _RATIOS
    ]


def _widest(rows: Iterable[TextRow], *keys: str) -> list[TextRow]:
    """Return the row of the largest radius for each combination of some columns."""
    widest: dict[tuple[str, ...], TextRow] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        if key not in widest or (number(row, "eps") or 0) >= (number(widest[key], "eps") or 0):
            widest[key] = row
    return list(widest.values())


def _fragility(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("fragility_summary", "method", "attack", "eps", "spearman", "n")
    return [
        Sentence(
            f"{row['method']} maps of {row['n']} images have a rank correlation of {value(row, 'spearman')} with "
            f"themselves after {kind_of(row)}, which keeps the class; maps of two different images have "
            f"{value(row, 'spearman_other')}.",
            "fragility_summary",
        )
        for row in _widest(rows, "method", "attack")
        if number(row, "spearman") is not None
    ]


def _influence(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"After {kind_of(row)}, {share(row, 'overlap')} of the training images that a prediction rests on most "
            f"stay "
            f"so (median of {row['n']} images).",
            "influence_summary",
        )
        for row in evaluation.rows("influence_summary", "attack", "eps", "overlap", "n")
    ]


def _sensitivity(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = all_layers(evaluation.rows("sensitivity_layers", "layer", "images", "sensitivity", "n"))
    return [
        Sentence(
            f"{row['images'].replace('~', ': ')} moves the {row['units']} units of {layer_words(row['layer'])} by "
            f"{value(row, 'sensitivity')} standard deviations on average ({row['n']} images).",
            "sensitivity_layers",
        )
        for row in rows
    ]


def _detection(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("detection", "score", "images", "auroc", "evaded")
    best: dict[str, TextRow] = {}
    for row in rows:
        if number(row, "auroc") is not None:
            before = best.setdefault(row["images"], row)
            best[row["images"]] = max(before, row, key=lambda row: number(row, "auroc") or 0)
    return [
        Sentence(
            f"The best score against {kind_of(row)} is {row['score']}: AUROC {value(row, 'auroc')}; "
            f"{share(row, 'evaded')} of the attacks change the class unflagged.",
            "detection",
        )
        for row in best.values()
    ]


def _promotion(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("promotion_summary", "images", "effect", "logits", "xi", "threshold", "type", "share")
    first: dict[str, TextRow] = {}
    shares: dict[str, list[str]] = {}
    form = ("effect", "logits", "xi", "threshold")
    for row in rows:
        head = first.setdefault(row["images"], row)
        if all(row[name] == head[name] for name in form) and row["type"] in ("promotion", "suppression", "balanced"):
            shares.setdefault(row["images"], []).append(f"{row['type']} {share(row, 'share')}")
    return [
        Sentence(
            f"Cells of the perturbation by {kind_of(first[images])} ({first[images]['effect']}, "
            f"{first[images]['logits']} logits): {', '.join(parts)}.",
            "promotion_summary",
        )
        for images, parts in shares.items()
    ]


def _tracing(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"{share(row, 'near')} of {row['n']} {row['group']} predictions on {kind_of(row)} images rest mostly "
            f"on units "
            "whose meaning is near the predicted class.",
            "tracing_summary",
        )
        for row in evaluation.rows("tracing_summary", "images", "group", "n", "near")
        if number(row, "near") is not None
    ]


def _curvature(evaluation: StoredEvaluation) -> list[Sentence]:
    shown: dict[str, Callable[[TextRow], str]] = {
        "lambda_max": lambda row: (
            f"The class score bends by a largest eigenvalue of {value(row, 'median')} in the median"
        ),
        "cos2_times_dimension": lambda row: (
            f"Its direction lies along the gradient {value(row, 'median')} times as much as by chance"
        ),
    }
    return [
        Sentence(f"{shown[row['measure']](row)} of {row['n']} images.", "curvature_summary")
        for row in evaluation.rows("curvature_summary", "measure", "median", "n")
        if row["measure"] in shown
    ]
