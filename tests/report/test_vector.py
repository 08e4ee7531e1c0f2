"""Figures as SVG and PDF: fonts embedded, print width, equal when drawn anew, told apart in grey."""

import io
import re
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lightning_advinterp.analyses.fragility.figures import fragility_convergence
from lightning_advinterp.analyses.sensitivity.figures import masking_figure
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.report.figures import accuracy_bars, robustness_curve
from lightning_advinterp.report.save import draw_files
from lightning_advinterp.report.styles import COLOURS, styles
from lightning_advinterp.report.vector import SMALLEST, WIDTHS, draw_vector, figure_formats, print_width


def chart(width: float = 9.0) -> Figure:
    figure = Figure(figsize=(width, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1, 3], [2, 0, 1], "o-", label="$x$ and ε")
    axes.set_xticks(range(4), ["layer1", "layer2", "layer3", "fc"], fontsize=7, rotation=90)
    axes.fill_between([0, 1], [0, 1], alpha=0.3)
    axes.imshow(np.arange(16).reshape(4, 4), extent=(0, 1, 0, 1))
    axes.set(title="Kxyz", ylabel="share")
    axes.legend()
    return figure


def drawn(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    draw_vector(figure, kind, file)
    return file.getvalue()


def pdf_objects(pdf: bytes) -> dict[int, bytes]:
    return {int(number): body for number, body in re.findall(rb"(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL)}


def test_fonts_lie_in_the_pdf_whole():
    objects = pdf_objects(drawn(chart(), "pdf"))
    fonts = [body for body in objects.values() if re.search(rb"/Type /Font\b(?!Descriptor)", body)]
    assert fonts
    assert not any(b"/Type3" in body for body in objects.values())
    files = [int(number) for body in objects.values() for number in re.findall(rb"/FontFile2 (\d+) 0 R", body)]
    descriptors = [body for body in objects.values() if b"/Type /FontDescriptor" in body]
    assert len(files) == len(descriptors) > 0  # of every font
    stream = re.search(rb"stream\r?\n(.*)\r?\nendstream", objects[files[0]], re.DOTALL)
    assert stream is not None
    outlines = TTFont(io.BytesIO(zlib.decompress(stream[1])))["glyf"]
    assert outlines["K"].numberOfContours == 1  # ε, beyond Latin-1, is an outline itself


def test_an_svgs_letters_are_outlines():
    root = ElementTree.fromstring(drawn(chart(), "svg"))
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert any(node.get("id", "").startswith("DejaVuSans") for node in root.iter("{http://www.w3.org/2000/svg}path"))


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_figure_drawn_anew_is_the_same_file(kind):
    figure = chart()
    assert drawn(figure, kind) == drawn(figure, kind) == drawn(chart(), kind)
    assert tuple(figure.get_size_inches()) == (9, 4)
    assert figure.axes[0].get_xticklabels()[0].get_fontsize() == 7


def test_the_width_is_a_columns_or_a_pages():
    assert [print_width(width) for width in (2.0, 5.0, 5.1, 15.0)] == [WIDTHS[0], WIDTHS[0], WIDTHS[1], WIDTHS[1]]
    root = ElementTree.fromstring(drawn(chart(2), "svg"))
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(72 * WIDTHS[0])
    pdf = drawn(chart(15), "pdf")
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(72 * WIDTHS[1], abs=0.01)
    sizes = re.findall(rb"/F\d+ ([\d.]+) Tf", zlib_text(pdf))
    assert sizes
    assert min(map(float, sizes)) == SMALLEST


def zlib_text(pdf: bytes) -> bytes:
    """Every stream of a PDF that is text once it is inflated."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return b"\n".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"x")


def test_the_flag(tmp_path):
    assert figure_formats("png") == ("png",)
    assert figure_formats(["svg"]) == ("png", "svg")
    assert figure_formats(" PDF, svg,pdf") == ("png", "svg", "pdf")
    with pytest.raises(ValueError, match=r"figures must be of png, svg, pdf, .* got 'eps'"):
        Evaluation(network="resnet18", figures="png,eps")
    draw_files(tmp_path, "a/b", chart(), figure_formats("svg,pdf"))
    starts = {path.suffix: path.read_bytes()[:5] for path in tmp_path.iterdir()}
    assert starts == {".png": b"\x89PNG\r", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def test_series_differ_without_colour_and_without_colour_sight():
    names = [f"attack{number}" for number in range(28)]
    chosen = styles(names)
    first = [chosen[name] for name in names[:7]]
    assert len({style.marker for style in first}) == len({style.hatch for style in first}) == len(COLOURS) == 7
    assert len({(style.marker, style.colour) for style in chosen.values()}) == 28
    # Viénot et al. 1999's dichromats see linear RGB through these matrices: no two colours may fall together.
    for matrix in (
        [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    ):
        linear = np.array([to_rgb(colour) for colour in COLOURS]) ** 2.2
        looks = (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
        gaps = np.abs(looks[:, None] - looks[None]).max(-1) + np.eye(len(looks))
        assert gaps.min() > 0.1


def rows_of_top1(**more) -> list[dict]:
    """Rows whose shares are all 1, so that bars and curves fill the panel to its upper corner."""
    shares = {f"{top}{end}": 1.0 for top in ("top1", "top5") for end in ("", "_low", "_high")}
    names = [("real", None), ("fgsm1", 1 / 255), ("fgsm8", 8 / 255)]
    return [{"images": name, "eps": eps, "n": 9, "norm": "linf"} | shares | more for name, eps in names]


GAINS = [
    {"method": method, "attack": attack, "eps": 0.1, "step": step}
    | dict.fromkeys(("gain", "gain_q10", "gain_q90"), gain)
    for method, attack in (("gradient", "topk"), ("lrp", "topk"), ("lrp", "mass_centre"))
    for step, gain in enumerate((0.0, 2.0))
]
MASKS = [
    {"attack": "pgd", "mask": mask, "units": units} | rows_of_top1()[1]
    for mask, units in (("none", 0), ("sensitive", 1), ("random", 1), ("sensitive", 9), ("random", 9))
]


@pytest.mark.parametrize("width", [None, *WIDTHS])
@pytest.mark.parametrize(
    ("draw", "rows", "entries"),
    [
        (accuracy_bars, rows_of_top1(), 2),
        (robustness_curve, rows_of_top1(), 1),
        (fragility_convergence, GAINS, 2),
        (masking_figure, MASKS, 2),
    ],
)
def test_a_legend_covers_no_panel(draw, rows, entries, width):
    figure = draw(rows)
    if width:
        figure.set_figwidth(width)
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert len(legend.get_texts()) == entries
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())
