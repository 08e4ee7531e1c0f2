"""What README and docs tell a reader to type: their blocks of bash, line by line, and the files that they describe."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOORS = {"train.py": "train", "evaluate.py": "evaluate"}
MODULES = {
    "lightning_advinterp.adversarial": "adversarial",
    "lightning_advinterp.bases": "bases",
    "lightning_advinterp.export": "export",
    "lightning_advinterp.ablation": "ablation",
    "lightning_advinterp.report": "report",
    "lightning_advinterp.data.broden": "broden",
}
_COMMENTED_FILE = re.compile(r"^# (\w+\.yaml):\n((?:#   .*\n)+)", re.MULTILINE)
_DESCRIBED_FILE = re.compile(r"`(\w+\.yaml)`[^`\n]*\n\n```yaml\n(.*?)```", re.DOTALL)


def lines_of(page):
    """Return the lines of a page's blocks; one that goes on behind a backslash or within a quotation is one line."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        open_quote = lines and not lines[-1].startswith("#") and lines[-1].partition(" #")[0].count("'") % 2
        if open_quote and not line.startswith("#"):
            lines[-1] += " " + line
        else:
            lines.append(line)
    return lines


def commands_of(page):
    """Return the commands of a page without comments; two that ``&&`` joins are two."""
    commands = []
    for line in lines_of(page):
        if line.strip() and not line.startswith("#"):
            command = re.sub(r"\s+# .*$", "", line).replace("  ", " ")
            commands += [re.sub(r"\s+", " ", part).strip() for part in command.split(" && ")]
    return commands


def files_of(page):
    """Return the YAML files that a page shows, by name: beside a command as comments, or as a block of its own."""
    text = page.read_text(encoding="utf-8")
    files = dict(_DESCRIBED_FILE.findall(text))
    for name, lines in _COMMENTED_FILE.findall(text):
        files[name] = re.sub(r"^#   ", "", lines, flags=re.MULTILINE)
    return files


def named_command(words):
    """Return the name of one of the package's commands, and its flags; None for another program's command."""
    for place, word in enumerate(words):
        if word == "advinterp" and len(words) > place + 1 and not words[place + 1].startswith("-"):
            return words[place + 1], words[place + 2 :]
        if word in DOORS:
            return DOORS[word], words[place + 1 :]
        if word == "-m" and words[place + 1] in MODULES:
            return MODULES[words[place + 1]], words[place + 2 :]
    return None


def command_of(line):
    """Return :func:`named_command` of a line as it stands; None where it holds a placeholder of the shell."""
    if line.startswith("#") or re.search(r"\$|…|\.\.\.|<|>", line):
        return None
    words = shlex.split(line, comments=True)
    words = words[words.index("&&") + 1 :] if "&&" in words else words
    return named_command(words[: words.index("&")] if "&" in words else words)
