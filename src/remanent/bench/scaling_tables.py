"""The tables of docs/scaling.md: the modelled cost of a training step on 8 to 4,096 devices."""

import math

from remanent.bench.scaling import Device, Plan, count_layer, longest, step_cost
from remanent.models import ModelConfig

MODEL = ModelConfig(input_size=16, output_size=16, hidden_size=256, num_layers=4, unit="bmru", head="every")
"""The model of the tables: 4 blocks of 256 BMRUs."""
ASSUMED = Device(products=2e14, copies=2.5e12, link=4e10, latency=1e-5, memory=80e9)
"""The device of the tables: round figures below data sheets, none of them measured here."""
DEVICES = (8, 64, 512, 4096)
"""The numbers of devices in the tables."""
LENGTHS = (2**20, 2**25, 2**30)
"""The lengths of sequences in the tables."""


def scaling_table() -> str:
    """The cost of a step with one sequence per device, and with one sequence that all share, in Markdown."""
    layer, layers = count_layer(MODEL), MODEL.num_layers
    lines = [
        "| devices | T | shared | memory per device | time per step | of it sending "
        "| sent per device and layer by the scans |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    for devices in DEVICES:
        for steps in LENGTHS:
            for name, plan in (
                ("batch", Plan(devices, steps, data=devices)),
                ("time", Plan(1, steps, time=devices)),
            ):
                cost = step_cost(layer, layers, plan, ASSUMED)
                fits = cost.memory <= ASSUMED.memory
                seconds = f"{shown_seconds(cost.seconds)} | {cost.sent_seconds / cost.seconds:.1%}" if fits else "- | -"
                where = f"{devices:,} | 2^{round(math.log2(steps))} | {name}"
                lines.append(
                    f"| {where} | {shown_bytes(cost.memory)} | {seconds} | {shown_bytes(cost.sent_by_layer)} |"
                )
    return "\n".join(lines) + "\n"


def longest_table() -> str:
    """The longest sequences that fit the devices' memory, in Markdown."""
    layer, layers = count_layer(MODEL), MODEL.num_layers
    lines = ["| devices | one sequence each | one sequence in all |", "|---:|---:|---:|"]
    for devices in (1, *DEVICES):
        found = [
            longest(layer, layers, plan, ASSUMED) for plan in (Plan(devices, 1, data=devices), Plan(1, 1, time=devices))
        ]
        lines.append(f"| {devices:,} | " + " | ".join(f"2^{round(math.log2(steps))}" for steps in found) + " |")
    return "\n".join(lines) + "\n"


def shown_bytes(count: float) -> str:
    """A number of bytes with a unit, in powers of 1,000.

    >>> shown_bytes(0), shown_bytes(20_500), shown_bytes(1.5e13)
    ('0 B', '20.5 kB', '15 TB')
    """
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def shown_seconds(seconds: float) -> str:
    """A number of seconds with a unit.

    >>> shown_seconds(0.0123), shown_seconds(64.2)
    ('12.3 ms', '64.2 s')
    """
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
