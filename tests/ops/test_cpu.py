"""The CPU kernels on several threads, processes and layouts: nothing depends on who does the work."""

import errno
import importlib
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from cases import crossed, exhaustive
from helpers import assert_close
from remanent.ops import latch_scan, latch_scan_joint, linear_scan
from remanent.ops.cpu import cut
from remanent.ops.cpu import threads as teams
from remanent.ops.cpu.arrays import LatchArrays, LinearArrays

SHAPES = [
    (1, 5000, 7),
    (1, 2500, 300),
    (3, 1100, 20),
    (5, 70, 130),
]  # pieces of time, blocks of channels, both, neither


@pytest.fixture(params=[1, 2, 5])
def threads(request, monkeypatch):
    """So many threads, for scans of any size."""
    monkeypatch.setattr(cut, "SMALL", 1)
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def inputs_of(shape, seed=0, reset=False):
    B, T, D = shape
    draw = torch.Generator().manual_seed(seed)
    gates = torch.randn(B, T, 2 * D, generator=draw, dtype=torch.float64)
    gates[..., D] += 100  # the first channel never writes: its state crosses every piece
    gates[..., D + 1 :] *= 2
    more = {"h0": torch.randn(B, D, generator=draw, dtype=torch.float64)}
    if reset:
        more["reset"] = torch.rand(B, T, generator=draw) < 0.001
        more["reset_state"] = torch.randn(D, generator=draw, dtype=torch.float64)
    return gates, torch.rand(D, generator=draw, dtype=torch.float64), more


def state_for_each_reset(more):
    """The same resets, each to a state of its own."""
    if "reset" not in more:
        return more
    (B, T), D = more["reset"].shape, more["h0"].shape[1]
    draw = torch.Generator().manual_seed(2)
    return more | {"reset_state": torch.randn(B, T, D, generator=draw, dtype=more["h0"].dtype)}


def both(scan, *tensors, reset=None, **more):
    leaves = [t.detach().requires_grad_() for t in tensors]
    named = {k: v.detach().requires_grad_() if isinstance(v, torch.Tensor) else v for k, v in more.items()}
    states = scan(*leaves, **named, reset=reset)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=states.dtype)
    wanted = [*leaves, *(v for v in named.values() if isinstance(v, torch.Tensor))]
    return states.detach(), torch.autograd.grad(states, wanted, weights)


@crossed(epsilon=[0.0, 0.3], reset=[False, True, "each"], shape=SHAPES)
def test_latch_is_the_same_on_any_number_of_threads(threads, shape, reset, epsilon):
    gates, alpha, more = inputs_of(shape, reset=bool(reset))
    more = state_for_each_reset(more) if reset == "each" else more
    states, grads = both(latch_scan_joint, gates, alpha, epsilon=epsilon, backend="cpu", **more)
    expected, expected_grads = both(latch_scan_joint, gates, alpha, epsilon=epsilon, backend="portable", **more)
    assert torch.equal(states, expected)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert_close(grad, wanted, 1e-12, "gradient")


@crossed(dtype=[torch.float64, torch.complex128], moves=[False, True], reset=[False, True, "each"], shape=SHAPES)
def test_linear_is_the_same_on_any_number_of_threads(threads, shape, reset, moves, dtype):
    gates, decay, more = inputs_of(shape, reset=bool(reset))
    more = state_for_each_reset(more) if reset == "each" else more
    candidate, threshold = gates.chunk(2, dim=-1)
    decay = (0.98 + 0.02 * (threshold.sigmoid() if moves else decay)).to(dtype)
    if dtype.is_complex:
        decay = decay * torch.exp(torch.tensor(0.3j, dtype=dtype))
    more = {k: v if v.dtype == torch.bool else v.to(dtype) for k, v in more.items()}
    states, grads = both(linear_scan, decay, candidate.to(dtype), backend="cpu", **more)
    expected, expected_grads = both(linear_scan, decay, candidate.to(dtype), backend="portable", **more)
    assert_close(states, expected, 1e-11, "states")
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert_close(grad, wanted, 1e-11, "gradient")


@pytest.mark.parametrize("threads", [2], indirect=True)
@pytest.mark.parametrize("kind", ["latch", "linear"])
def test_no_nan_crosses_a_reset_between_pieces_of_time(threads, kind):
    gates, alpha, more = inputs_of((1, 5000, 7), reset=True)
    more["reset"][:] = False
    more["reset"][:, 3000] = True
    more["h0"].fill_(torch.nan)
    gates[..., 7:] = gates[..., 7:].abs() + 100  # nothing is written: the NaN is held up to the reset
    leaf = gates.requires_grad_()
    if kind == "latch":
        states = latch_scan_joint(leaf, alpha, backend="cpu", **more)
    else:
        states = linear_scan(alpha, leaf[..., :7], backend="cpu", **more)
    states[:, 3000:].sum().backward()
    assert states[:, :3000].isnan().all()
    assert states[:, 3000:].isfinite().all()
    assert leaf.grad[:, 3000:].isfinite().all()


@pytest.mark.parametrize("backend", ["reference", "portable", "cpu"])
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("time_first", [False, True])
def test_gates_side_by_side_are_gates_apart(backend, parts, time_first):
    B, T, D = 3, 70, 5
    draw = torch.Generator().manual_seed(0)
    gates = torch.randn(B, T, parts * D, generator=draw)
    if time_first:
        gates = gates.transpose(0, 1).contiguous().transpose(0, 1)
    gates.requires_grad_()
    alpha = None if parts == 3 else torch.rand(D, generator=draw)
    states = latch_scan_joint(gates, alpha, backend=backend)
    candidate, threshold, *size = (v.contiguous() for v in gates.chunk(parts, dim=-1))
    apart = latch_scan(candidate, threshold, size[0] if parts == 3 else alpha, backend=backend)
    assert torch.equal(states, apart)
    weights = torch.randn(B, T, D, generator=draw)
    (joint_grad,) = torch.autograd.grad(states, gates, weights)
    (grad,) = torch.autograd.grad(apart, gates, weights)
    assert torch.equal(joint_grad, grad)
    if time_first and backend != "reference":
        assert states.transpose(0, 1).is_contiguous()
        assert joint_grad.transpose(0, 1).is_contiguous()


@pytest.mark.parametrize("backend", ["portable", "cpu"])
def test_lazily_negated_conjugated_and_expanded_tensors_are_read_as_they_are(backend):
    B, T, D = 2, 70, 5
    draw = torch.Generator().manual_seed(0)
    pairs = torch.randn(B, T, D, generator=draw, dtype=torch.complex128)
    candidate, alpha = pairs.conj().imag, torch.rand(D, generator=draw, dtype=torch.float64).expand(B, T, D)
    assert candidate.is_neg()
    threshold = torch.rand(B, 1, D, generator=draw, dtype=torch.float64).expand(B, T, D)
    inputs = (candidate, threshold, alpha)
    states, grads = both(latch_scan, *inputs, backend=backend)
    expected, expected_grads = both(latch_scan, *(v.clone().contiguous() for v in inputs), backend="reference")
    assert torch.equal(states, expected)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert_close(grad, wanted, 1e-12, "gradient")
    decay = 0.9 * torch.exp(1j * alpha[0, 0]).conj()
    states, grads = both(linear_scan, decay, pairs.conj(), backend=backend)
    expected, expected_grads = both(linear_scan, decay.resolve_conj(), pairs.conj().resolve_conj(), backend="reference")
    assert_close(states, expected, 1e-12, "states")
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert_close(grad, wanted, 1e-12, "gradient")


def test_gates_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"`gates` must have shape \(B, T, 2 D\), got \(2, 4, 5\)"):
        latch_scan_joint(torch.zeros(2, 4, 5), torch.ones(2))
    with pytest.raises(ValueError, match=r"`gates` must have shape \(B, T, 3 D\), got \(2, 4, 4\)"):
        latch_scan_joint(torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match=r"`alpha` must have shape .* got \(3,\)"):
        latch_scan_joint(torch.zeros(2, 4, 4), torch.ones(3))


def test_memory_kept_for_the_backward_pass_is_the_gates_and_a_state_in_64():
    B, T, D = 2, 6400, 8
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    gates, alpha = torch.randn(B, T, 2 * D, requires_grad=True), torch.ones(D, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        latch_scan_joint(gates, alpha, torch.zeros(B, D))
    assert sum(kept.values()) / (B * T * D) < 8.07


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_several_python_threads_scan_at_once(threads):
    cases = [inputs_of((1, 5000, 7), seed) for seed in range(6)]
    expected = [latch_scan_joint(g, a, m["h0"], backend="portable") for g, a, m in cases]
    found: dict[int, list[torch.Tensor]] = {i: [] for i in range(len(cases))}

    def work(i):
        gates, alpha, more = cases[i]
        for _ in range(20):
            found[i].append(latch_scan_joint(gates, alpha, more["h0"], backend="cpu"))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(cases))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, results in found.items():
        assert len(results) == 20
        assert all(torch.equal(result, expected[i]) for result in results)


class Scanned(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        gates, alpha, more = inputs_of((1, 5000, 7), i)
        return latch_scan_joint(gates, alpha, more["h0"], backend="cpu")[0]


def _scan_in_child(queue, gates, alpha, h0):
    # on two threads; of torch's own operators, those on large tensors would hang here
    queue.put(latch_scan_joint(gates, alpha, h0, backend="cpu").numpy().tobytes())


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_forked_child_and_dataloader_workers_scan_after_their_parent_did(threads):
    expected = torch.stack([Scanned()[i] for i in range(4)])
    loader = torch.utils.data.DataLoader(Scanned(), batch_size=2, num_workers=2, timeout=60)
    assert torch.equal(torch.cat(list(loader)), expected)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process with threads
        gates, alpha, more = inputs_of((1, 4000, 7))
        child = context.Process(target=_scan_in_child, args=(queue, gates, alpha, more["h0"]), daemon=True)
        child.start()
    wanted = latch_scan_joint(gates, alpha, more["h0"], backend="cpu")
    assert queue.get(timeout=30) == wanted.numpy().tobytes()
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_python_threads_stand_in_where_torch_has_no_team(threads, monkeypatch):
    gates, alpha, more = inputs_of((1, 5000, 7))
    expected = latch_scan_joint(gates, alpha, more["h0"], backend="cpu")
    monkeypatch.setattr(teams.Process, "forked", True)
    assert torch.equal(latch_scan_joint(gates, alpha, more["h0"], backend="cpu"), expected)
    assert teams.Process.pool is not None


def run_apart(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("cause", ["not installed", "switched off"])
def test_without_numba_scans_are_portable_with_one_warning(cause):
    code = "import sys, torch\n"
    code += "sys.modules['numba'] = None\n" if cause == "not installed" else ""
    code += (
        "from remanent.ops import latch_scan, linear_scan\n"
        "c = torch.tensor([[[2.0], [0.1], [-2.0]]])\n"
        "for _ in range(3):\n"
        "    print(latch_scan(c, torch.ones(1), torch.ones(1)).flatten().tolist())\n"
        "    linear_scan(torch.ones(1), c)\n"
    )
    done = run_apart(code, **({"NUMBA_DISABLE_JIT": "1"} if cause == "switched off" else {}))
    assert done.stdout.splitlines() == ["[1.0, 1.0, -1.0]"] * 3
    assert done.stderr.count("take the slower portable backend") == 1


@exhaustive
def test_kernels_are_compiled_once_for_all_processes_and_shapes(tmp_path):
    code = (
        "import torch\n"
        "from remanent.ops import latch_scan\n"
        "for T in (3, 70, 200):\n"
        "    c = torch.randn(2, T, 5, requires_grad=True)\n"
        "    latch_scan(c, torch.ones(5), torch.ones(5)).sum().backward()\n"
    )
    counts = []
    for _ in range(2):
        run_apart(code, NUMBA_CACHE_DIR=str(tmp_path))
        counts.append(sorted(p.name for p in tmp_path.rglob("*.nbc")))
    assert counts[0] == counts[1]
    assert len(counts[0]) == 3  # the probe, forward, backward


@pytest.mark.parametrize(
    ("name", "arrays"), [("latch_kernels", LatchArrays), ("linear_kernels", LinearArrays)], ids=["latch", "linear"]
)
def test_kernels_find_arrays_where_they_are_put(name, arrays):
    kernels = importlib.import_module(f"remanent.ops.cpu.{name}")
    assert [getattr(kernels, field.upper()) for field in arrays._fields] == list(range(len(arrays._fields)))


def test_a_place_without_a_cache_still_runs(monkeypatch):
    import numba

    made = numba.cfunc

    def without_cache(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return made(*args, **options)

    monkeypatch.setattr(numba, "cfunc", without_cache)
    from remanent.ops.cpu.kernels import probe

    kernel = teams.compiled.__wrapped__(probe, torch.float32)
    assert kernel.address


def in_the_package():
    """Numba's files of one kernel beside its source, where earlier versions left them."""
    place = Path(importlib.import_module("remanent.ops.cpu.kernels").__file__).with_name("__pycache__")
    return {path: path.stat().st_mtime_ns for path in place.glob("kernels.probe-*")}


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_kernels_are_kept_in_the_users_cache_and_never_in_the_package(tmp_path, monkeypatch, writable):
    import numba

    from remanent.ops.cpu.kernels import probe

    before, caches = in_the_package(), tmp_path / "caches"
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(caches))
    if not writable:
        caches.write_text("no folder")
    assert teams.compiled.__wrapped__(probe, torch.float32).address
    assert bool(list(tmp_path.rglob("*.nbi"))) == writable
    assert in_the_package() == before
    assert numba.config.CACHE_DIR == ""  # a user's own functions are kept where they were


DAMAGES = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[:-5],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [".nbi", ".nbc"])
def test_a_damaged_cache_is_written_again(tmp_path, monkeypatch, kind, damage):
    import numba

    from remanent.ops.cpu.kernels import probe

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    teams.compiled.__wrapped__(probe, torch.float32)
    (path,) = tmp_path.rglob(f"*{kind}")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(
        UserWarning, match=r"Numba's files .*kernels\.probe-\* could not be used .*have been written again"
    ):
        assert teams.compiled.__wrapped__(probe, torch.float32).address
    assert teams.compiled.__wrapped__(probe, torch.float32).address  # without a warning


def test_a_full_disk_is_named_and_kernels_still_run(tmp_path, monkeypatch):
    import numba
    from numba.core.caching import IndexDataCacheFile

    from remanent.ops.cpu.kernels import probe

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(IndexDataCacheFile, "_save_index", fail)
    with pytest.warns(
        UserWarning, match=rf"Numba's files {tmp_path}/.*kernels\.probe-\* could not be used .*No space left"
    ):
        assert teams.compiled.__wrapped__(probe, torch.float32).address


def test_import_and_first_call_bring_in_no_compiler_of_torch():
    code = (
        "import sys, torch, remanent\n"
        "c = torch.randn(2, 5, 3, requires_grad=True)\n"
        "remanent.ops.latch_scan(c, torch.ones(3), torch.ones(3)).sum().backward()\n"
        "remanent.BRC(3, 4)(c)[0].sum().backward()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert run_apart(code).stdout.strip() == "False"
