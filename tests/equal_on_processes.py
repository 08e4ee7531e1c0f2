"""Evaluates real images on one, two and three processes, and compares every file of every analysis byte by byte.

``python tests/equal_on_processes.py --network resnet18 --weights FILE --data FOLDER --concepts BRODEN`` runs it and
prints a table. Three cases are evaluated:

* ``uneven``: twelve images of three classes, one of which cannot be read and is skipped, and seven images of the
  concept set, all analyses but detection;
* ``few``: two images and two concept images, fewer than three processes;
* ``detection``: 36 images, 19 of which detection needs for its thresholds.

Images pass one by one (``--batch_size 1``), so that no number depends on which images share a batch. Anything after
``--`` goes to ``evaluate.py`` as it is, such as ``-- --batch_size 4``, which shows what batches change.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TOLERANCE = 1e-12
"""Of scalars, relative: they are float64 sums, whose last bits depend on how many parts are added."""

REPOSITORY = Path(__file__).absolute().parents[1]
MOST_OF_A_COMMAND = 1800
"""Seconds that an evaluation may take."""

SETTINGS = """
attack: [{type: fgsm, eps: 4/255}, {type: pgd, eps: 4/255, steps: 2, target: random}]
resize: 96
crop: 96
num_workers: 0
device: cpu
batch_size: 1
on_bad_image: skip
calibration_images: 4
figures: png,svg
dissection: {layers: last, groups: 4, replicates: 20, quantile: 0.95}
semantics: {layers: last, sample: 50}
panels: {layers: 1, count: 1, images: 2}
curvature: {limit: 3, lanczos: 3, probes: 2}
fragility:
  {methods: gradient, attacks: topk, eps: 8/255, steps: 3, limit: 12, pool: 2, faithfulness: 4, batch_size: 1}
influence: {training: 6, test: 2, top: 1, overlap: 2, show: 1, steps: 2, batch_size: 1}
promotion: {limit: 3, cell: 32, show: 1, batch_size: 1}
sensitivity: {layers: last, mask_units: [0, 8], mask_steps: 2, mask_draws: 2}
tracing: {limit: 3, show: 1, screen: 20, samples: 2, recalled: 1}
detection:
  {learn: 10, calibrate: 19, report: 7, adaptive_images: 2, steps: 2, restarts: 2, weights: [0.1], batch_size: 1}
"""
"""Small settings of all analyses; ``batch_size: 1`` also where an analysis has batches of its own."""

EVERYTHING = (
    "accuracy,predictions,dissection,semantics,distances,panels,curvature,fragility,influence,promotion,sensitivity,"
    "tracing"
)
WITHOUT_LEARNING = EVERYTHING.replace("influence,", "")  # which divides the images of each class in two
WITHOUT_CONCEPTS = "accuracy,detection"


@dataclass(frozen=True)
class Case:
    """Images that are evaluated on several numbers of processes.

    Attributes:
        name: as above.
        analyses: which, separated by commas.
        classes: so many classes of the data.
        images: so many images of each class.
        concepts: so many images of the concept set; 0: it is not given.
        damaged: whether one of the images cannot be read.
    """

    name: str
    analyses: str
    classes: int
    images: int
    concepts: int
    damaged: bool = False


CASES = (
    Case("uneven", EVERYTHING, 3, 4, 7, damaged=True),
    Case("few", WITHOUT_LEARNING, 2, 1, 2),
    Case("detection", WITHOUT_CONCEPTS, 6, 6, 0),
)


def link_images(source: Path, folder: Path, case: Case) -> None:
    """Make a folder of links to the first images of the first classes, one of them damaged where the case says so."""
    classes = sorted(path for path in (source / "val" if (source / "val").is_dir() else source).iterdir())
    for path in [path for path in classes if path.is_dir()][: case.classes]:
        images = sorted(image for image in path.iterdir() if image.suffix.lower() in (".jpg", ".jpeg", ".png"))
        (folder / path.name).mkdir(parents=True)
        for image in images[: case.images]:
            (folder / path.name / image.name).symlink_to(image.absolute())
    if case.damaged:
        second = sorted(folder.rglob("*.*"))[1]  # of the second process, where there are several
        second.unlink()
        second.write_bytes(b"no image")


def link_concepts(source: Path, folder: Path, count: int) -> None:
    """Make a set of images spread over one in Broden's format, whose other files are linked."""
    folder.mkdir()
    for path in source.iterdir():
        if path.name != "index.csv":
            (folder / path.name).symlink_to(path.absolute())
    with (source / "index.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows[:: max(1, len(rows) // count)][:count]])


def evaluate(flags: list[str], output: Path, processes: int) -> None:
    """Run the evaluation command to its end.

    Raises:
        RuntimeError: with what it printed last, if it fails.
    """
    command = [sys.executable, str(REPOSITORY / "evaluate.py"), *flags]
    command += ["--output", str(output), "--devices", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=MOST_OF_A_COMMAND, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")


def family(pid: int) -> list[int]:
    """Return a process and its children, the first process of a command and those that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def files_by_analysis(folder: Path) -> dict[str, dict[str, str]]:
    """Return by analysis the digests of its files, as the record of an evaluation lists them."""
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    digests = {name: digest for name, digest in record["files"].items() if name != "index.html"}
    by_analysis, listed = {}, set()
    for analysis, entry in record["analyses"].items():
        by_analysis[analysis] = {name: digests[name] for name in entry["files"] if name in digests}
        listed |= set(entry["files"])
    shared = {name: digest for name, digest in digests.items() if name not in listed}
    return by_analysis | ({"(of several)": shared} if shared else {})


def scalars_by_analysis(folder: Path) -> dict[str, dict[str, float | None]]:
    """Return by analysis the scalars of all its results."""
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    by_analysis: dict[str, dict[str, float | None]] = {}
    for analysis, entry in record["analyses"].items():
        by_analysis[analysis] = {}
        for result in entry["results"]:
            scalars = record["scalars"].get(result, {}).items()
            by_analysis[analysis] |= {f"{result}/{name}": value for name, value in scalars}
    return by_analysis


def difference_of_scalars(first: dict[str, float | None], second: dict[str, float | None]) -> float:
    """Return by how much scalars differ at most, relative to their size; infinity where one has no number."""
    largest = 0.0
    for name in first.keys() | second.keys():
        one, other = first.get(name), second.get(name)
        if one is None or other is None:
            largest = largest if one is other else float("inf")
        elif one != other:
            largest = max(largest, abs(one - other) / max(abs(one), abs(other)))
    return largest


def compare(expected: Path, folder: Path) -> dict[str, str]:
    """Return by analysis what differs between two evaluations' folders; an empty text where all files are equal."""
    expected_files, files = files_by_analysis(expected), files_by_analysis(folder)
    expected_scalars, scalars = scalars_by_analysis(expected), scalars_by_analysis(folder)
    differing = {}
    for analysis in expected_files.keys() | files.keys():
        first, second = expected_files.get(analysis, {}), files.get(analysis, {})
        names = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
        relative = difference_of_scalars(expected_scalars.get(analysis, {}), scalars.get(analysis, {}))
        numbers = [f"scalars by {relative:.0e}"] if relative > TOLERANCE else []
        differing[analysis] = ", ".join([*names, *numbers])
    return differing


def run_case(case: Case, folder: Path, flags: list[str], sources: argparse.Namespace) -> dict[str, list[str]]:
    """Evaluate a case on all numbers of processes; return by analysis what differs from one process, in their order."""
    images, concepts = folder / f"{case.name}-images", folder / f"{case.name}-concepts"
    link_images(sources.data, images, case)
    analyses = [name for name in case.analyses.split(",") if not sources.analyses or name in sources.analyses]
    flags = [*flags, "--data", str(images), "--analyses", ",".join(analyses)]
    if case.concepts:
        link_concepts(sources.concepts, concepts, case.concepts)
        flags += ["--concepts", str(concepts)]
    flags += sources.more
    rows: dict[str, list[str]] = {}
    expected = folder / f"{case.name}-1"
    for processes in [1, *sources.processes]:
        output, started = folder / f"{case.name}-{processes}", time.monotonic()
        evaluate(flags, output, processes)
        print(f"({case.name} on {processes}: {time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
        if processes > 1:
            for analysis, differing in compare(expected, output).items():
                rows.setdefault(analysis, []).append(differing)
        else:
            counts = {analysis: len(files) for analysis, files in files_by_analysis(expected).items()}
    return {f"{case.name} | {analysis} | {counts.get(analysis, 0)}": row for analysis, row in sorted(rows.items())}


def main() -> int:
    """Parse the command line, evaluate, and print the table; the status is 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images, DIR/val/<class> or DIR/<class>")
    parser.add_argument("--concepts", type=Path, required=True, help="a set in Broden's format")
    parser.add_argument("--processes", type=lambda text: [int(part) for part in text.split(",")], default=[2, 3])
    parser.add_argument("--cases", default=",".join(case.name for case in CASES))
    parser.add_argument("--analyses", type=lambda text: text.split(","), default=[], help="these alone")
    parser.add_argument("--folder", type=Path, default=None, help="for the evaluations; a temporary one by default")
    parser.add_argument("more", nargs="*", help="further flags of evaluate.py, after --")
    sources = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = sources.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.yaml").write_text(SETTINGS)
        flags = ["--config", str(folder / "settings.yaml"), "--network", sources.network, "--weights", sources.weights]
        rows: dict[str, list[str]] = {}
        for case in CASES:
            asked = not sources.analyses or set(sources.analyses) & set(case.analyses.split(","))
            if case.name in sources.cases.split(",") and asked:
                rows |= run_case(case, folder, flags, sources)
    print(f"| case | analysis | files | {' | '.join(f'{processes} processes' for processes in sources.processes)} |")
    print(f"| --- | --- | --- |{' --- |' * len(sources.processes)}")
    for title, row in rows.items():
        print(f"| {title} | {' | '.join(f'differs: {differing}' if differing else 'equal' for differing in row)} |")
    return 1 if any(differing for row in rows.values() for differing in row) else 0


if __name__ == "__main__":
    sys.exit(main())
