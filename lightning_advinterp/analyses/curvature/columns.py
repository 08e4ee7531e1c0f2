"""The tables of curvature."""

from lightning_advinterp.analyses.base.columns import IMAGE
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns, share_columns, spread_columns

_WAYS = "under an equal step along the eigenvector (`top`), the gradient (`gradient`) or a `random` direction"


_BETA = Column("beta", "β of the softplus that stands for ReLU; empty: the network itself")
_SWEPT = (
    Column("checkpoint", "file of a network of `trained`; empty: the network under test"),
    Column("trained", "β of the softplus that the network was trained with; empty: ReLU"),
)
_NEAR = (("pcc", "linear correlation"), ("ssim", "structural similarity"), ("mse", "mean squared difference"))


def _near_columns(prefix: str, ending: str) -> tuple[Column, ...]:
    """Return the columns of every measure of how near two maps are."""
    columns: tuple[Column, ...] = ()
    for name, words in _NEAR:
        columns += spread_columns(f"{prefix}_{name}", f"the images' {words} {ending}")
    return columns


CURVATURE = (
    TableSpec(
        "curvature",
        "an image",
        (
            IMAGE,
            Column("class", "the network's class, the number of an output"),
            Column("beta", "β of the softplus that stands for ReLU"),
            Column("gradient_norm", "‖∇z‖ of the class' logit z", "logits per pixel value"),
            Column("lambda_max", "eigenvalue of the Hessian of z of largest magnitude"),
            Column("residual", "‖Hv − λv‖: an eigenvalue lies within it of `lambda_max`"),
            Column("frobenius", "estimate of the Hessian's Frobenius norm"),
            Column("frobenius_error", "its standard error"),
            Column("principal", "largest principal curvature of {z = const}"),
            Column("cos2", "squared cosine between the eigenvector and the gradient"),
            Column("cos2_times_dimension", "the same times the number of pixel values: 1 on average by chance"),
            Column("delta_p_{direction}", f"change of the class' probability {_WAYS}"),
            Column("delta_map_{direction}", "relative change ‖h' − h‖/‖h‖ of the gradient map under the same step"),
            Column("spearman_{direction}", "rank correlation of the maps before and after it"),
            Column("topk_{direction}", "overlap of their largest places", "share"),
            Column("cos2_times_dimension_random", "`cos2_times_dimension` of the random direction: the null"),
            Column("class_kept", "whether the network with softplus predicts the same class"),
        ),
    ),
    TableSpec(
        "curvature_summary",
        "a measure",
        (
            Column("measure", "column of `curvature` that is summarised; magnitudes of signed ones"),
            Column("median", "its median over images"),
            Column("low", "10 % quantile"),
            Column("high", "90 % quantile"),
            Column("n", "images that have it", "images"),
            *interval_columns("median", ""),
            Column("share", "share of the images, of the measure `class_kept`", "share"),
            *interval_columns("share"),
            Column("missing", "images that do not have it", "images"),
        ),
    ),
    TableSpec(
        "curvature_walk",
        "an image, a walk along its level set and a step",
        (
            IMAGE,
            Column(
                "walk", "where it sets out: along the `principal` curvature of largest magnitude, or a `random` tangent"
            ),
            Column("step", "steps so far", "steps"),
            Column("distance", "length d of the way", "2-norm over pixel values"),
            Column("turn", "‖n(p) − n(p₀)‖ of the normalised gradients"),
            Column("principal", "largest magnitude of a principal curvature on the way, |λ|"),
            Column("bound", "|λ| d"),
            Column("slack", "`bound` − `turn`"),
            Column("within", "whether the turn is within the bound, up to 0.1 % of it: steps are not infinitely short"),
            Column("drift", "by how much the logit has left its level", "logits"),
        ),
        when="with `walk`",
    ),
    TableSpec(
        "curvature_walk_summary",
        "a walk and a step",
        (
            Column("walk", "as in `curvature_walk`"),
            Column("step", "steps so far", "steps"),
            Column("n", "images that have a level set", "images"),
            Column("missing", "images that have none: the gradient is zero", "images"),
            *spread_columns("distance", "the images' length of the way"),
            *spread_columns("turn", "the images' turn of the gradient"),
            *spread_columns("bound", "|λ| d"),
            *spread_columns("used", "`turn`/`bound`"),
            Column("within", "images whose turn is within the bound", "share"),
            *interval_columns("within"),
        ),
        when="with `walk`",
    ),
    TableSpec(
        "curvature_beta",
        "an image, a network and a β, the network itself last",
        (
            IMAGE,
            *_SWEPT,
            _BETA,
            Column("correct", "whether the network with softplus of β predicts the label"),
            Column("class_kept", "whether it predicts the network's own class"),
            Column("prediction_kept", "whether the network itself still predicts it on the attacked image"),
            Column("lambda_max", "eigenvalue of the Hessian of z of largest magnitude"),
            *(Column(f"original_{name}", f"{words} of the map before and after the attack") for name, words in _NEAR),
            *(Column(f"target_before_{name}", f"{words} of the map before and the target") for name, words in _NEAR),
            *(Column(f"target_{name}", f"{words} of the map after the attack and the target") for name, words in _NEAR),
        ),
        when="with `betas`",
    ),
    TableSpec(
        "curvature_beta_summary",
        "a network and a β, the network itself last",
        (
            *_SWEPT,
            _BETA,
            Column("n", "images", "images"),
            *share_columns("correct", "images that the network with softplus of β classifies rightly"),
            *share_columns("class_kept", "images of which it keeps the network's own class"),
            *share_columns("prediction_kept", "attacked images of which the network itself keeps the class"),
            *spread_columns("lambda_max", "magnitude of the Hessian's eigenvalue"),
            *_near_columns("original", "with the original"),
            *_near_columns("target_before", "before it"),
            *_near_columns("target", "with the target"),
        ),
        when="with `betas`",
    ),
    TableSpec(
        "curvature_smoothgrad",
        "an image, a σ and a β",
        (
            IMAGE,
            _BETA,
            Column("sigma", "σ of SmoothGrad's noise", "share of the pixels' range"),
            Column("pcc", "linear correlation of the two maps"),
            Column("spearman", "their rank correlation"),
        ),
        when="with `betas`",
    ),
    TableSpec(
        "curvature_smoothgrad_summary",
        "a β and a σ",
        (
            _BETA,
            Column("sigma", "σ of SmoothGrad's noise", "share of the pixels' range"),
            Column("n", "images", "images"),
            *spread_columns("pcc", "linear correlation of the two maps"),
            *spread_columns("spearman", "rank correlation of the two maps"),
        ),
        when="with `betas`",
    ),
)
