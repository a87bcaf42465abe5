"""The benchmarks' command line, on the one benchmark that needs nothing but Python."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_figure_is_a_line_of_json() -> None:
    run = benchmarks("--quick", "moxio")
    assert (run.returncode, run.stderr) == (0, "")
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    assert len({figure["name"] for figure in figures}) == len(figures) > 3
    for figure in figures:
        assert figure.keys() == {"name", "unit", "value", "low", "high", "peers", "ratio"}
        assert 0 < figure["low"] <= figure["value"] <= figure["high"]
        assert figure["peers"].keys() == figure["ratio"].keys() != set()


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    run = benchmarks("moxio", "moxie")
    assert run.returncode == 2
    assert run.stdout == ""
    assert "no benchmark is called moxie; there are" in run.stderr
    assert "moxio" in run.stderr
