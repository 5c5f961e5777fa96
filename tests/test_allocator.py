"""The option on how the C library hands out memory."""

import platform
import subprocess
import sys

import pytest
import torch

import remanent

CODE = """
import resource, torch, remanent
print(remanent.reuse_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum(faults() for _ in range(16)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the option is glibc's")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    took_effect, faults = done.stdout.split()
    assert took_effect == "True"
    assert int(faults) < 5 * 16384  # of 16 times 16,384 pages: a block may be cut up before it is found again


def test_elsewhere_it_says_that_it_did_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert remanent.reuse_freed_memory() is False
    assert torch.ones(1).item() == 1
