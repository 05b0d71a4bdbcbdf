"""What is installed is what is here: packages, dependencies, pins, and what the documents say of them."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from credit_like.can.readers import READERS

ROOT = Path(__file__).parents[1]
SOURCES = ("applications", "trainers", "credit_like")
LAZY = {"cantools", "asammdf", "mlflow"}  # the extras


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def names(requirements: str) -> set[str]:
    return {normal(match[0]) for line in requirements.split("\n") if (match := re.match(r"[A-Za-z0-9._-]+", line))}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_of_the_tree_is_in_the_wheel(setup_cfg: configparser.ConfigParser):
    here = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for source in SOURCES
        for path in (ROOT / source).rglob("__init__.py")
    }
    assert sorted(setup_cfg["options"]["packages"].split()) == sorted(here | {"credit_like.conf"})


def test_every_import_is_a_declared_dependency(setup_cfg: configparser.ConfigParser):
    declared = names(setup_cfg["options"]["install_requires"])
    distributions = packages_distributions()
    undeclared = {}
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            for module in top_level_imports(path):
                if module in sys.stdlib_module_names or module in SOURCES or module in LAZY:
                    continue
                if not declared & {normal(name) for name in distributions.get(module, [])}:
                    undeclared[f"{path.relative_to(ROOT)}: {module}"] = distributions.get(module)
    assert undeclared == {}


def top_level_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {module.partition(".")[0] for module in found}


def test_every_dependency_is_pinned_and_torch_comes_first(setup_cfg: configparser.ConfigParser):
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "torch==2.13.0"
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    pinned = names("\n".join(lines))
    wanted = names(setup_cfg["options"]["install_requires"])
    for extra in setup_cfg["options.extras_require"].values():
        wanted |= names(extra)
    assert wanted - pinned == set()


def test_the_table_of_log_formats_is_whole():
    text = (ROOT / "docs" / "own-logs.md").read_text(encoding="utf-8")
    assert [reader.title for reader in READERS.values() if f"\n| {reader.title} | " not in text] == []


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
)
def test_the_documents_name_files_that_are_there(document: str):
    path = ROOT / document
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
