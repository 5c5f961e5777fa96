"""What the processes of a crew do in the tests of scans that are shared out in time."""

import torch
import torch.distributed as dist

import model_cases
import unit_cases
from remanent import SequenceModel
from remanent.ops import latch, latch_scan, latch_scan_joint, linear_scan, transition_scan
from remanent.ops.arguments import Backend
from remanent.ops.collectives import observe_collectives, place_in, sum_of_all

SEQUENCES = ("candidate", "threshold", "alpha", "gates", "decay", "value", "logits", "reset", "reset_state")
"""Inputs that have an axis of time where they have three axes, or two in `reset`."""
SCANS = {"latch": latch_scan, "joint": latch_scan_joint, "linear": linear_scan, "transition": transition_scan}


def scan_and_differentiate(scan, inputs, options, weights):
    """States and the gradients of every input, as new tensors."""
    leaves = {k: v.detach().clone().requires_grad_(v.dtype != torch.bool) for k, v in inputs.items()}
    states = SCANS[scan](**leaves, **options)
    states.backward(weights)
    return states.detach(), {k: v.grad for k, v in leaves.items() if v.dtype != torch.bool}


def in_time(name, value):
    return name in SEQUENCES and value.dim() == (2 if name == "reset" else 3)


def share(inputs, cuts, rank):
    """This process's part of every input."""
    part = slice(cuts[rank], cuts[rank + 1])
    return {name: value[:, part] if in_time(name, value) else value for name, value in inputs.items()}


def run_share(rank, size, scan, inputs, options, weights, cuts):
    part = share({"value": weights}, cuts, rank)["value"]
    return scan_and_differentiate(scan, share(inputs, cuts, rank), options | {"group": dist.group.WORLD}, part)


def run_with(rank, size, scan, inputs_by_rank, options_by_rank):
    """A scan in which every process is given something else; what it raises."""
    options = {"group": dist.group.WORLD} | options_by_rank[rank]
    return SCANS[scan](**inputs_by_rank[rank], **options)


def run_in_mesh(rank, size, inputs, cuts):
    mesh = dist.init_device_mesh("cpu", (size,), mesh_dim_names=("time",))
    part = share(inputs, cuts, rank)
    states = latch_scan(**part, group=mesh["time"])
    return torch.equal(states, latch_scan(**part, group=dist.group.WORLD))


def sum_and_differentiate(rank, size, values, weights):
    """The sum of one row of every process, by group and by mesh, and the gradient of this process's row."""
    mesh, row = dist.init_device_mesh("cpu", (size,), mesh_dim_names=("time",)), values[rank].requires_grad_()
    total, in_mesh = (sum_of_all(place_in(group, row.device), row) for group in (dist.group.WORLD, mesh["time"]))
    total.backward(weights[rank])
    return total.detach(), in_mesh.detach(), row.grad


def bytes_sent(rank, size, scan, inputs, options, cuts):
    """What a scan and its backward pass hand to the collectives, in bytes."""
    sent = []
    with observe_collectives(sent.append):
        leaves = {k: v.requires_grad_() for k, v in share(inputs, cuts, rank).items()}
        states = SCANS[scan](**leaves, **options, group=dist.group.WORLD)
        forward = len(sent)
        states.sum().backward()
    return sent[:forward], sent[forward:]


def runs_of_the_kernels(rank, size, inputs, options, cuts):
    """How often the latch's kernels run over a shard in both passes, forward and backward."""
    before, counts = latch.BACKENDS["cpu"], [0, 0]

    def counted(i, run):
        def call(*arguments):
            counts[i] += 1
            return run(*arguments)

        return call

    backward, cpu_backward = counted(1, before.backward), latch.cpu.latch_backward
    latch.BACKENDS["cpu"] = Backend(counted(0, before.forward), backward)
    latch.cpu.latch_backward = backward
    try:
        run_share(rank, size, "latch", inputs, options, torch.ones_like(inputs["candidate"]), cuts)
    finally:
        latch.BACKENDS["cpu"], latch.cpu.latch_backward = before, cpu_backward
    return counts


def model_bytes(rank, size, config, batch, steps):
    """What a training step of a model hands to the collectives of its scans, in bytes."""
    x = torch.randn(batch, steps, config.input_size).tensor_split(size, dim=1)[rank]
    sent = []
    with observe_collectives(sent.append):
        SequenceModel(config)(x, group=dist.group.WORLD)[0].sum().backward()
    return sum(sent)


def run_in_a_part(rank, size):
    """A group that the last process is not in."""
    group = dist.new_group(list(range(size - 1)))
    return latch_scan(torch.ones(1, 2, 1), torch.ones(1), torch.ones(1), group=group).flatten().tolist()


def everyone(size):
    """The group of all processes; none for one alone, which has all steps."""
    return dist.group.WORLD if size > 1 else None


def run_unit(rank, size, name, options, x, h0, reset, reset_state, cuts, weights):
    """A unit's outputs and last state of this process's steps, and the gradients of its parameters, x and h0.

    Those of a `reset_state` are in its own steps; elsewhere they are zero.
    """
    unit = unit_cases.make(name, **options)
    part = slice(cuts[rank], cuts[rank + 1])
    x = x[:, part].clone().requires_grad_()
    h0 = None if h0 is None else h0.clone().requires_grad_()
    start = None if reset_state is None else reset_state.clone().requires_grad_()
    resets = {} if reset is None else {"reset": reset[:, part]}
    resets |= {} if start is None else {"reset_state": start[:, :, part]}
    y, h_n = unit(x, h0, **resets, group=everyone(size))
    (y * weights[:, part]).sum().backward(retain_graph=True)
    (h_n.abs().square().sum() / size).backward()
    grads = {key: parameter.grad for key, parameter in unit.named_parameters() if parameter.grad is not None}
    more = {"h0": h0, "reset_state": start}
    return (
        y.detach(),
        h_n.detach(),
        x.grad,
        grads | {key: torch.zeros_like(v) if v.grad is None else v.grad for key, v in more.items() if v is not None},
    )


def call_unit(rank, size, name, options, shape, arguments):
    """A unit's call that is refused."""
    return unit_cases.make(name, **options)(torch.ones(shape).double(), group=dist.group.WORLD, **arguments)[0]


def run_model(rank, size, options, x, state, reset, starts, cuts, weights):
    """A model's output and state of this process's steps, and the gradients of its parameters.

    Of an output that all processes have, each takes its part of the loss.
    """
    model = model_cases.make(**options)
    first, steps = cuts[rank], cuts[rank + 1] - cuts[rank]
    part, resets = slice(first, first + steps), {}
    if reset is not None:
        resets["reset"] = reset[:, part]
    if starts is not None:
        resets["reset_state"] = model_cases.changed(starts, lambda value, axis: value.narrow(axis + 1, first, steps))
    y, after = model(x[:, part], state, **resets, group=everyone(size))
    loss = (y * (weights[:, part] if y.dim() == 3 else weights[:, -1] / size)).sum()
    states = [state for layer in after.layers for state in layer] + list(after.windows or ())
    (loss + sum(state.abs().square().sum() for state in states) / size).backward()
    grads = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None}
    return y.detach(), after.detach(), grads


def call_model(rank, size, options, x):
    """A model's call that is refused."""
    return model_cases.make(**options)(x, group=dist.group.WORLD)[0]
