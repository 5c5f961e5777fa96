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

from remanent._options import check_choice
from remanent.bench.environment import environment
from remanent.bench.gpu.cases import PASSED, Case, Settings, run_cases
from remanent.bench.gpu.kept_rows import Kept, finished, lines_of

LIMITS = {"right": 240.0, "fast": 150.0, "learn": 90.0}
"""The seconds after which each part is ended: together the 8 minutes that all have."""
SECONDS = sum(LIMITS.values())
WORKERS = 14
"""Processes that check what is right; what is timed has the GPU for itself."""


def _right(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import between_products, right, right_heads, right_models, tune

    heads, models = right_heads.cases(settings), right_models.cases(settings)
    first = right_models.NEWEST
    return [
        *between_products.right_cases(settings),
        *heads,
        *tune.checks(settings),
        *(case for case in models if case.name in first),
        *right.cases(settings),
        *(case for case in models if case.name not in first),
    ]


def _fast(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import between_products, fast, tune

    return [*between_products.fast_cases(settings), *tune.cases(settings), *fast.cases(settings)]


def _learn(settings: Settings) -> list[Case]:
    from remanent.bench.gpu import learn

    return learn.cases(settings)


PARTS: dict[str, Callable[[Settings], list[Case]]] = {"right": _right, "fast": _fast, "learn": _learn}
"""Name to the cases of a part, what no GPU has run yet first."""


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
        folder: where the files go. Of files that are there, the rows stay in which a case passed, and are not run
            again if the same code gave them on the same machine.
        settings: device and sizes; on a device that is not CUDA all runs in this process.
        seconds: for all parts together.

    Returns:
        0 if every case passed, now or before, else 1.

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
    start, good, used = time.monotonic(), True, 0.0
    wanted = [part for part in PARTS if part in parts or not parts]
    for part in wanted:
        used += LIMITS[part] / sum(LIMITS[name] for name in wanted) * seconds
        good &= _run_part(part, folder / f"{part}.json", settings, start + used)
    return 0 if good else 1


def work(part: str, events: Path, settings: Settings) -> int:
    """Runs cases of a part that no other worker has taken; `todo.json` beside `events` names them."""
    todo = json.loads(events.with_name("todo.json").read_text())
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // todo["workers"]))
    if part == "fast":
        from remanent.bench.gpu import tune

        tune.use(todo["rows"] + finished(events.parent))
    cases = {case.name: case for case in PARTS[part](settings)}
    return run_cases([cases[name] for name in todo["left"]], events)


def _run_part(part: str, path: Path, settings: Settings, deadline: float) -> bool:
    names = [case.name for case in PARTS[part](settings)]
    results = environment() | _gpu(settings) | {"part": part, "command": f"python -m remanent.bench.gpu {part}"}
    start, kept = time.monotonic(), Kept.of(path, results)
    left = kept.left([name for name in names if re.search(settings.only, name)], settings)
    workers = min(WORKERS, len(left)) if part == "right" and settings.device == "cuda" else 1
    with tempfile.TemporaryDirectory() as temporary:
        events = Path(temporary)
        passed = [row for row in kept.rows.values() if kept.passed(row["case"])]
        (events / "todo.json").write_text(json.dumps({"left": left, "workers": workers, "rows": passed}))

        def write() -> list[dict[str, Any]]:
            return kept.write(results | {"seconds": round(time.monotonic() - start, 1)}, events, names, left)

        if settings.device != "cuda":
            work(part, events / "0.jsonl", settings)
        else:
            _watch(part, settings, [events / f"{i}.jsonl" for i in range(workers)], deadline, write)
        rows = write()
    bad = [row for row in rows if row["status"] != PASSED]
    seconds = time.monotonic() - start
    print(f"{part}: {len(rows) - len(bad)} of {len(rows)} passed in {seconds:.0f} s", flush=True)
    print(f"  {len(passed)} had passed before by the same code", flush=True)
    for row in bad:
        print(f"  {row['case']}: {row['status'][:300]}", flush=True)
    return not bad


def _watch(part: str, settings: Settings, files: list[Path], deadline: float, changed: Callable[[], Any]) -> None:
    """Keeps the workers running until all cases are done or the time is over."""
    workers = {i: _start(part, events, settings) for i, events in enumerate(files)}
    seen: dict[int, tuple[int, float]] = {}
    begun: dict[int, int] = {}
    while workers and time.monotonic() < deadline:
        time.sleep(0.2)
        for i, worker in list(workers.items()):
            lines = lines_of(files[i])
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
                workers[i] = _start(part, files[i], settings)
            elif running and time.monotonic() - seen[i][1] > running["limit"]:
                _end(worker)
                _close(files[i], running, f"error: hung for {running['limit']:.0f} s and was ended")
                workers[i] = _start(part, files[i], settings)
    for worker in workers.values():
        _end(worker)


def _start(part: str, events: Path, settings: Settings) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "remanent.bench.gpu", "--device", settings.device, "--only", settings.only]
    command += ["--learn-seconds", str(settings.learn_seconds)]
    command += [
        *(["--tiny"] if settings.tiny else []),
        *(["--data-dir", settings.data_dir] if settings.data_dir else []),
    ]
    return subprocess.Popen([*command, "--worker", part, str(events)])


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


def _gpu(settings: Settings) -> dict[str, Any]:
    """What the GPU is, and its compiler."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found: dict[str, Any] = {"triton": version("triton"), "tiny": settings.tiny}
    except PackageNotFoundError:
        found = {"triton": "not installed", "tiny": settings.tiny}
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
