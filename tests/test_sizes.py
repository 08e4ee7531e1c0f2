"""Functions do one thing and files have one job."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lightning_advinterp"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_OF_A_FUNCTION = 60
"""With its signature and its docstring."""
LINES_OF_A_FILE = 300


def test_no_function_is_long():
    functions = [
        (path.relative_to(PACKAGE), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {f"{path}: {node.name}": node.end_lineno - node.lineno + 1 for path, node in functions}
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FUNCTION} == {}


def test_no_file_does_two_jobs():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}
