"""What is written is what is there: README, command reference, model cards, CI."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[str]:
    return re.findall(r"```(?:sh|console)\n(.*?)```", text, re.S)


def set_up_commands() -> list[str]:
    return [line for block in blocks(README) for line in block.splitlines() if "pip install" in line]


def test_two_commands_set_everything_up():
    assert len(set_up_commands()) == 2
    assert set_up_commands()[0].endswith("denoise run samples/")


def test_ci_runs_the_test_command_of_the_readme_to_the_letter():
    assert set_up_commands()[1] in (ROOT / ".ci/run").read_text().splitlines()


@pytest.mark.parametrize("script", ["make_cli_reference.py", "make_model_cards.py"])
def test_generated_pages_are_up_to_date(script):
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize(
    "command", ["run", "corrupt", "train", "eval", "encode", "decode", "propagate", "quantise"]
)
def test_every_command_is_in_the_readme(command):
    assert f"denoise {command}" in README


def test_links_and_pictures_of_the_readme_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("package", ["corrupt", "evaluate", "media", "metrics", "noise", "train"])
def test_every_module_stands_in_the_index_of_its_package(package):
    root = ROOT / "denoise_cli" / package
    index = ast.get_docstring(ast.parse((root / "__init__.py").read_text()))
    assert index is not None
    named = set(re.findall(r"[\w.]+\.py", index))
    assert named == {path.name for path in root.glob("*.py")} - {"__init__.py"}


def test_every_benchmark_script_is_named_in_its_readme():
    page = (ROOT / "benchmarks/README.md").read_text()
    assert [p.name for p in sorted((ROOT / "benchmarks").glob("*.py")) if p.name not in page] == []
