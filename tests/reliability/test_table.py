"""docs/reliability.md: every fault has its row, and every test that is named there exists."""

from __future__ import annotations

import re

from conftest import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_every_fault_has_a_row_with_a_test():
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE, re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 34))
    assert all("::test_" in tests for _, tests in rows)


def test_the_tests_exist():
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 60
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


def test_the_limits_are_those_of_the_code():
    from denoise_cli.media.containers import RATES
    from denoise_cli.media.image import LONGEST_FILE
    from denoise_cli.media.limits import Limits

    usual = Limits()
    for number in (usual.pixels, usual.whole, usual.frames, LONGEST_FILE, usual.hours, usual.channels, RATES[0]):
        assert f"| {number:,}" in PAGE
