"""The documentation as a site: every page has a place in it, and every link leads somewhere."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def places(entries):
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(value, list):
            yield from places(value)
        else:
            yield value


def anchors(page):
    """Anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    texts = [re.sub(r"[`*_]|\[|\]\([^)]*\)", "", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


def test_every_page_has_one_place():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = [*PAGES, *DOCS.rglob("*.ipynb")]
    assert sorted(places(site["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in pages)


def test_every_link_leads_to_a_file_and_a_heading():
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            if link.startswith(("http:", "https:", "mailto:")):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken


def test_every_file_of_the_repository_that_is_named_is_there():
    file = re.compile(r"(?<![\w/.])(?:tests|benchmarks|examples|configs)/[\w/*.-]+\.(?:py|yaml)\b")
    missing = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]:
        named = set(file.findall(page.read_text(encoding="utf-8"))) - {"configs/EXPERIMENT.yaml"}  # the reader's own
        missing += [f"{page.relative_to(ROOT)}: {path}" for path in named if not any(ROOT.glob(path))]
    assert not missing


def test_the_reference_names_modules_that_are_there():
    named = re.findall(r"^::: ([\w.]+)$", "".join(page.read_text() for page in (DOCS / "reference").glob("*.md")), re.M)
    assert len(named) > 10
    for name in named:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").is_file() or re.search(
            rf"(?:def|class) {path.name}\b", path.parent.with_suffix(".py").read_text()
        ), name
