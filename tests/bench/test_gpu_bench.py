"""The bench for a GPU, as Triton's interpreter runs it on a CPU: so that it does not rot where there is none."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cases import exhaustive
from remanent.bench.gpu import PARTS, Settings, run_gpu, supervise
from remanent.bench.gpu.cases import Case, run_cases
from remanent.bench.gpu.kept_rows import finished

pytest.importorskip("triton", reason="the GPU kernels need Triton")

RIGHT = "tiling|^linear equals.*moving|infinity|seed|autocast|heads equal|heads, repeated|lookup equals|packed"
RIGHT += "|norm of a sum|convolution equals"
"""The checks that take the interpreter a few seconds."""
FAST = r"^copy|^latch both.*float32|^linear forward.*bfloat16|layer BMRU|step after 16: bmru|^heads|^lookup scan"
LEARN = "permuted MNIST"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process writes that runs all parts at tiny sizes."""
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "remanent.bench.gpu", "--tiny", "--device", "cpu", "--out", str(folder)]
    command += ["--only", f"{RIGHT}|{FAST}|{LEARN}"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return {part: json.loads((folder / f"{part}.json").read_text()) for part in PARTS}


@pytest.mark.parametrize(("part", "least"), [("right", 10), ("fast", 8), ("learn", 1)])
def test_a_part_runs_on_the_interpreter(part, least, results):
    rows = results[part]["rows"]
    assert len(rows) >= least
    assert {row["status"] for row in rows} == {"passed"}
    assert results[part]["gpu"] == "none: Triton's interpreter"


def fake(monkeypatch, **runs):
    """Puts cases in the place of those of "right"."""
    cases = [Case(name, run) for name, run in runs.items()]
    monkeypatch.setattr(supervise, "PARTS", PARTS | {"right": lambda settings: cases})


def statuses(folder):
    return {row["case"]: row["status"] for row in json.loads((folder / "right.json").read_text())["rows"]}


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path, monkeypatch):
    calls = []

    def run(name, broken=False):
        calls.append(name)
        if broken:
            raise AssertionError("off by 3")
        return {"figure": len(calls)}

    fake(monkeypatch, first=lambda: run("first"), second=lambda: run("second", broken=True), third=lambda: run("third"))
    settings = Settings("cpu", only="first|second")
    assert run_gpu(["right"], tmp_path, settings=settings) == 1
    assert statuses(tmp_path) == {"first": "passed", "second": "failed: off by 3"}
    fake(monkeypatch, first=lambda: run("first"), second=lambda: run("second"), third=lambda: run("third"))
    assert run_gpu(["right"], tmp_path, settings=Settings("cpu")) == 0
    assert calls == ["first", "second", "second", "third"]
    assert statuses(tmp_path) == dict.fromkeys(("first", "second", "third"), "passed")
    assert run_gpu(["right"], tmp_path, settings=Settings("cpu", again=True)) == 0
    assert calls[4:] == ["first", "second", "third"]


def test_rows_by_other_code_stay_until_they_are_run_again(tmp_path, monkeypatch):
    calls = []
    old = [{"case": "first", "status": "passed", "version": "other", "figure": 1}, {"case": "gone", "status": "passed"}]
    (tmp_path / "right.json").write_text(json.dumps({"note": "two runs", "rows": old}))
    fake(monkeypatch, first=lambda: calls.append("first") or {}, second=lambda: calls.append("second") or {})
    assert run_gpu(["right"], tmp_path, settings=Settings("cpu", only="second")) == 0
    found = json.loads((tmp_path / "right.json").read_text())
    assert found["note"] == "two runs"
    assert found["rows"][0] == old[0]
    assert len(found["rows"]) == 2
    assert run_gpu(["right"], tmp_path, settings=Settings("cpu")) == 0
    assert calls == ["second", "first"]
    rows = json.loads((tmp_path / "right.json").read_text())["rows"]
    assert {row["version"] for row in rows} == {found["version"]}


def test_what_never_passed_runs_before_what_passed_with_other_code(tmp_path, monkeypatch):
    calls = []
    rows = [{"case": "first", "status": "passed", "version": "other"}]
    (tmp_path / "right.json").write_text(json.dumps({"rows": rows}))
    fake(monkeypatch, first=lambda: calls.append("first") or {}, second=lambda: calls.append("second") or {})
    assert run_gpu(["right"], tmp_path, settings=Settings("cpu")) == 0
    assert calls == ["second", "first"]


def test_a_case_that_fails_ends_no_other(tmp_path):
    def fail():
        raise AssertionError("off by 3")

    cases = [Case("first", fail), Case("second", lambda: {"figure": 1}), Case("third", lambda: 1 / 0)]
    assert run_cases(cases, tmp_path / "events") == 0
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    ended = {line["case"]: line["status"] for line in lines if "status" in line}
    assert ended["first"] == "failed: off by 3"
    assert ended["second"] == "passed"
    assert ended["third"].startswith("error: ZeroDivisionError")
    assert run_cases(cases, tmp_path / "others") == 0
    assert not (tmp_path / "others").exists()  # each case has been taken


@exhaustive
def test_workers_share_the_cases_of_a_part(tmp_path):
    settings = Settings("cpu", tiny=True)
    left = ["packed: convolution", "heads, NaN and infinity", "packed: alpha_bmru"]
    (tmp_path / "todo.json").write_text(json.dumps({"left": left, "workers": 2, "rows": []}))
    changes, files = [], [tmp_path / f"{i}.jsonl" for i in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        supervise._watch("right", settings, files, time.monotonic() + 300, lambda: changes.append(1))
    rows = finished(tmp_path)
    assert sorted(row["case"] for row in rows) == sorted(left)
    assert {row["status"] for row in rows} == {"passed"}
    assert len(changes) >= 2


def test_an_unknown_part_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"`PART` must be one of right, fast, learn"):
        run_gpu(["wrong"], tmp_path, settings=Settings("cpu"))


def test_names_of_cases_differ_and_the_newest_are_there():
    from remanent.bench.gpu import right_models

    for cases in PARTS.values():
        names = [case.name for case in cases(Settings())]
        assert len(set(names)) == len(names)
    assert set(right_models.NEWEST) <= {case.name for case in PARTS["right"](Settings())}


def test_the_call_for_a_bare_machine_fits():
    root = Path(__file__).parents[2]
    calls = [re.findall(r"```console\n(export[^`]*)```", (root / page).read_text()) for page in PAGES]
    assert calls[0] == calls[1]
    (call,) = calls[0]
    assert len(call) <= 2000
    seconds = dict(re.findall(r"gpu (\w+) --seconds (\d+)", call))
    assert list(seconds) == list(PARTS)
    assert {part: float(limit) for part, limit in seconds.items()} == supervise.LIMITS
    assert sum(supervise.LIMITS.values()) <= 8 * 60
    assert float(re.findall(r"--learn-seconds (\d+)", call)[0]) == Settings().learn_seconds


PAGES = ("CONTRIBUTING.md", "docs/gpu.md")
