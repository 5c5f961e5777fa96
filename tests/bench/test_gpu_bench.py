"""The bench for a GPU, as Triton's interpreter runs it on a CPU: so that it does not rot where there is none."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the GPU kernels need Triton")

RIGHT = "tiling|^linear equals.*moving|infinity|seed|autocast"
"""The checks that take the interpreter a few seconds."""
FAST = r"^copy|^latch both.*float32|^linear forward.*bfloat16|layer BMRU|step after 16: bmru"


def bench(folder, *arguments, interpret="1"):
    environment = os.environ | {"TRITON_INTERPRET": interpret}
    command = [sys.executable, "-m", "remanent.bench.gpu", *arguments, "--out", str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)


@pytest.mark.parametrize(("part", "only", "least"), [("right", RIGHT, 5), ("fast", FAST, 5), ("learn", "", 1)])
def test_a_part_runs_on_the_interpreter(part, only, least, tmp_path):
    done = bench(tmp_path, part, "--tiny", "--device", "cpu", "--only", only)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / f"{part}.json").read_text())
    assert len(results["rows"]) >= least
    assert {row["status"] for row in results["rows"]} == {"passed"}
    assert results["gpu"] == "none: Triton's interpreter"


def test_a_case_that_fails_ends_no_other(tmp_path):
    from remanent.bench.gpu.cases import Case, run_cases

    def fail():
        raise AssertionError("off by 3")

    cases = [Case("first", fail), Case("second", lambda: {"figure": 1}), Case("third", lambda: 1 / 0)]
    assert run_cases(cases, tmp_path / "events", {"none"}) == 0
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    ended = {line["case"]: line["status"] for line in lines if "status" in line}
    assert ended["first"] == "failed: off by 3"
    assert ended["second"] == "passed"
    assert ended["third"].startswith("error: ZeroDivisionError")


def test_an_unknown_part_is_named(tmp_path):
    from remanent.bench.gpu import Settings, run_gpu

    with pytest.raises(ValueError, match=r"`PART` must be one of right, fast, learn"):
        run_gpu(["wrong"], tmp_path, settings=Settings("cpu"))
