"""Runs the three parts, each in processes that are watched: a case that hangs is ended, and the rest goes on."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from remanent._files import write_json
from remanent._options import check_choice
from remanent.bench.environment import environment
from remanent.bench.gpu.cases import PASSED, Case, Settings, run_cases

SECONDS = 470.0
"""For all parts together."""
WORKERS = 14
"""Processes that check what is right; what is timed has the GPU for itself."""
SHARES = {"right": 0.35, "fast": 0.65, "learn": 1.0}
"""The share of the seconds after which each part has ended."""


def _right(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import right, right_models, tune

    return [*tune.checks(settings), *right_models.cases(settings), *right.cases(settings)]


def _fast(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import fast, tune

    return [*tune.cases(settings), *fast.cases(settings)]


def _learn(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import learn

    return learn.cases(settings)


PARTS: dict[str, Callable[[Settings], list[Case]]] = {"right": _right, "fast": _fast, "learn": _learn}
"""Name to the cases of a part."""


def run_gpu(
    parts: Sequence[str] = (),
    folder: Path = Path("results/gpu"),
    *,
    settings: Settings | None = None,
    seconds: float = SECONDS,
) -> int:
    """Runs parts one after the other, and writes `right.json`, `fast.json` and `learn.json` as they go.

    Args:
        parts: which of `PARTS`; all if none.
        folder: where the files go; files of the same names are replaced.
        settings: device and sizes; on a device that is not CUDA all runs in this process.
        seconds: for all parts together.

    Returns:
        0 if every case passed, else 1.

    Raises:
        ValueError: a part is unknown.
        RuntimeError: there is no GPU.
    """
    settings = settings or Settings()
    for part in parts:
        check_choice("PART", part, PARTS)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("`remanent bench gpu` needs a GPU that torch can use, and torch finds none")
    folder.mkdir(parents=True, exist_ok=True)
    start, good = time.monotonic(), True
    wanted = [part for part in PARTS if part in parts or not parts]
    for i, part in enumerate(wanted):
        share = SHARES[part] if len(wanted) == len(PARTS) else (i + 1) / len(wanted)
        good &= _run_part(part, folder / f"{part}.json", settings, start + share * seconds)
    return 0 if good else 1


def work(part: str, share: str, events: Path, settings: Settings) -> int:
    """Runs one worker's share of a part's cases, without those that stand in `events` already."""
    number, of = map(int, share.split("/"))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // of))
    return run_cases(_chosen(part, settings)[number::of], events, {line["case"] for line in _read(events)})


def _chosen(part: str, settings: Settings) -> list[Case]:
    return [case for case in PARTS[part](settings) if re.search(settings.only, case.name)]


def _run_part(part: str, path: Path, settings: Settings, deadline: float) -> bool:
    names = [case.name for case in _chosen(part, settings)]
    results = environment() | _gpu(settings) | {"part": part, "command": f"python -m remanent.bench.gpu {part}"}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        events = Path(temporary)
        if settings.device != "cuda":
            run_cases(_chosen(part, settings), events / "0.jsonl", ())
        else:
            _watch(part, settings, events, deadline, lambda: _write(path, results, events, names, start))
        rows = _write(path, results, events, names, start)
    bad = [row for row in rows if row["status"] != PASSED]
    print(f"{part}: {len(rows) - len(bad)} of {len(rows)} passed in {time.monotonic() - start:.0f} s", flush=True)
    for row in bad:
        print(f"  {row['case']}: {row['status'][:300]}", flush=True)
    return not bad


def _watch(part: str, settings: Settings, events: Path, deadline: float, changed: Callable[[], Any]) -> None:
    """Keeps the workers running until all cases are done or the time is over."""
    count = WORKERS if part == "right" else 1
    files = [events / f"{i}.jsonl" for i in range(count)]
    workers = {i: _start(part, f"{i}/{count}", files[i], settings) for i in range(count)}
    seen: dict[int, tuple[int, float]] = {}
    begun: dict[int, int] = {}
    while workers and time.monotonic() < deadline:
        time.sleep(0.2)
        for i, worker in list(workers.items()):
            lines = _read(files[i])
            if seen.get(i, (-1, 0.0))[0] != len(lines):
                seen[i] = (len(lines), time.monotonic())
                changed()
            running = lines[-1] if lines and "status" not in lines[-1] else None
            code = worker.poll()
            if code == 0:
                del workers[i]
            elif code is not None:
                if code < 0 or running:
                    _close(files[i], running, f"error: the process ended with code {code}")
                if len(lines) == begun.get(i, 0):  # it cannot even start
                    del workers[i]
                    continue
                begun[i] = len(lines)
                workers[i] = _start(part, f"{i}/{count}", files[i], settings)
            elif running and time.monotonic() - seen[i][1] > running["limit"]:
                _end(worker)
                _close(files[i], running, f"error: hung for {running['limit']:.0f} s and was ended")
                workers[i] = _start(part, f"{i}/{count}", files[i], settings)
    for worker in workers.values():
        _end(worker)


def _start(part: str, share: str, events: Path, settings: Settings) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "remanent.bench.gpu", "--device", settings.device, "--only", settings.only]
    command += ["--learn-seconds", str(settings.learn_seconds)]
    command += [
        *(["--tiny"] if settings.tiny else []),
        *(["--data-dir", settings.data_dir] if settings.data_dir else []),
    ]
    return subprocess.Popen([*command, "--worker", part, share, str(events)])


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        print("a process that was ended still holds the GPU", flush=True)


def _close(events: Path, running: dict[str, Any] | None, status: str) -> None:
    """Writes how the case ended whose process did not."""
    if running:
        with events.open("a") as file:
            file.write(json.dumps({"case": running["case"], "status": status}) + "\n")


def _read(events: Path) -> list[dict[str, Any]]:
    if not events.exists():
        return []
    lines = []
    for line in events.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def _write(path: Path, results: dict[str, Any], events: Path, names: list[str], start: float) -> list[dict[str, Any]]:
    """The file of a part: a row for each case, in their order; those that did not come to run say so."""
    rows = {row["case"]: row for file in sorted(events.glob("*.jsonl")) for row in _read(file) if "status" in row}
    ordered = [rows.get(name, {"case": name, "status": "not run: the time was over"}) for name in names]
    write_json(path, results | {"seconds": round(time.monotonic() - start, 1), "rows": ordered})
    return ordered


def _gpu(settings: Settings) -> dict[str, Any]:
    """What the GPU is, and its compiler."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found: dict[str, Any] = {"triton": version("triton")}
    except PackageNotFoundError:
        found = {"triton": "not installed"}
    if settings.device != "cuda":
        return found | {"gpu": "none: Triton's interpreter"}
    properties = torch.cuda.get_device_properties(0)
    return found | {
        "gpu": properties.name,
        "gpu_memory": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
