"""The tables of detection."""

from lightning_advinterp.analyses.base.columns import ATTACKED, EPS, IMAGE, IMAGES
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_SCORE = Column("score", "name of the score")
_OF = Column(
    "images",
    "name of the attack; `worst`: of every image the least suspicious result that succeeds; an adaptive attack has the "
    "ball of the named one",
)
_COUNTED = "images that the network was right about before the attack, and is wrong about after it"
_PLAIN = "the same of the plain attacks' results that lie in its ball, on the same images"
_ADAPTIVE = "adaptive attacks alone"

_SCORES = (
    Column("semantic_support", "how near the meaning of the units that speak most for the prediction is to it"),
    Column("concept_disagreement", "1 − cosine between the concepts present and those that the prediction implies"),
    Column("max_softmax", "probability of the predicted class", "share"),
    Column("margin", "difference of the two highest logits"),
    Column("energy", "−log Σ exp of the logits"),
    Column("mahalanobis", "squared Mahalanobis distance of the features to the nearest class centre"),
    Column("knn", "distance of the normalised features to the k-th nearest learned image"),
    Column("squeezing", "largest L1 change of the probabilities when the image is squeezed"),
    Column("pd_concentration", "share of the strongest units in all that speaks for the prediction", "share"),
    Column("centre_distance", "Euclidean distance of the features to the nearest class centre"),
)

DETECTION = (
    TableSpec(
        "detection",
        "a detector and an attack",
        (
            _SCORE,
            _OF,
            EPS,
            Column("n", _COUNTED, "images"),
            Column("auroc", "probability that one of these is more suspicious than a real image", "share"),
            *interval_columns("auroc"),
            Column("tpr_at_5", "share of these that is flagged at the calibrated threshold", "share"),
            *interval_columns("tpr"),
            Column("adaptive", "whether the attack knew the score, and worked against it"),
            Column("attacked", "images that the network was right about before the attack", "images"),
            Column("success", "share of `attacked` that `n` is", "share"),
            Column("evaded", "share of `attacked` whose class is wrong and that is not flagged", "share"),
            *interval_columns("evaded"),
            Column("plain_evaded", _PLAIN, "share", when=_ADAPTIVE),
            Column("real", "real images beside them", "images"),
            Column("calibrated", "images that the threshold was taken from", "images"),
            Column("rate", "of false alarms, for which the threshold was chosen", "share"),
            Column("threshold", "a greater suspicion is flagged; `inf`: too many scores are missing", format=".9g"),
            Column("false_alarms", "share of the real images that is flagged", "share"),
            *interval_columns("false_alarms"),
            Column("norm", "norm in which `eps` is meant: `linf` or `l2`", when=ATTACKED),
        ),
    ),
    TableSpec(
        "errors",
        "a reported image, real or attacked",
        (
            IMAGE,
            Column("label", "its class, as the number of an output"),
            Column("predicted", "output that the network answers with"),
            IMAGES,
            Column("wrong", "whether they differ"),
            EPS,
            Column("success", "whether the attack made it wrong", when=ATTACKED),
            *_SCORES,
        ),
    ),
    TableSpec(
        "errors_summary",
        "a score and a kind of images",
        (
            _SCORE,
            IMAGES,
            EPS,
            Column("n", "how many images", "images"),
            Column("errors", "wrong predictions", "images"),
            Column("error_rate", "their share: the area under the curve of a score that knows nothing", "share"),
            Column("aurc", "area under the risk–coverage curve, lower is better", "share"),
            *interval_columns("aurc"),
            Column("aurc_best", "the least possible: every right prediction before every wrong one", "share"),
            Column("missing", "images that have no such score; they count as the least trusted", "images"),
        ),
    ),
    TableSpec(
        "risk_coverage",
        "a score, a kind of images and a coverage",
        (
            _SCORE,
            IMAGES,
            EPS,
            Column("coverage", "share of the images that are answered: those that the score trusts most", "share"),
            Column("risk", "share of errors among these", "share"),
        ),
    ),
)
