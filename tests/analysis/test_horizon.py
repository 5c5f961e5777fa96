"""The memory horizon: the cap for a latch that noise cannot write, the first wrong read for any other."""

import pytest
import torch
from torch import nn

from remanent import BMRU, GRU, LRU, UNITS, BMRUCell, ModelConfig, SequenceModel
from remanent.analysis import memory_horizon
from unit_cases import sized

BIT = torch.tensor([[2.0], [-2.0]])


def latch():
    unit = BMRU(1, 1, write_span=None)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(torch.tensor([[1.0], [0.0]]))
    return unit


def test_a_perfect_latch_has_the_cap():
    assert memory_horizon(latch(), BIT, 0.1, sequences=3, cap=100_000).tolist() == [100_000] * 3


def test_a_latch_reads_right_until_noise_writes_over_either_bit():
    noise = torch.zeros(3, 40, 1)
    noise[0, 11], noise[1, 4], noise[1, 20] = 1.5, -1.0, 1.0  # the first is the second step
    horizon = memory_horizon(latch(), BIT, lambda B, T, _: noise[:, :T], sequences=3, cap=31)
    assert horizon.tolist() == [12, 5, 31]


def slow_horizon(unit, noise, cap):
    """Step by step, each bit alone."""
    written = [unit.step(bit[None]) for bit in BIT]
    (plus, h_plus), (minus, h_minus) = written
    direction, middle = (plus - minus).double(), ((plus.double() + minus.double()) / 2)
    if not direction.any():
        return 0
    for t in range(1, cap):
        plus, h_plus = unit.step(noise[None, t - 1], h_plus)
        minus, h_minus = unit.step(noise[None, t - 1], h_minus)
        if not (direction * (plus - middle)).sum() > 0 or not (direction * (minus - middle)).sum() < 0:
            return t
    return cap


@pytest.mark.parametrize("name", list(UNITS))
def test_the_horizon_is_that_of_the_definition_step_by_step(name, monkeypatch):
    monkeypatch.setattr("remanent.analysis.horizon.STEPS", 7)
    torch.manual_seed(3)
    unit = sized(UNITS, name, 1, 6, num_layers=2)
    noise = 0.6 * torch.randn(4, 59, 1)
    sent = []

    def draw(B, T, generator):
        start = sum(sent)
        sent.append(T)
        return noise[:, start : start + T]

    horizon = memory_horizon(unit, BIT, draw, sequences=4, cap=60)
    assert horizon.tolist() == [slow_horizon(unit, row, 60) for row in noise]


def test_what_writes_nothing_has_no_horizon():
    assert memory_horizon(latch(), 0.5 * BIT / 2, sequences=2, cap=10).tolist() == [0, 0]


def test_a_fading_memory_is_lost_in_noise_and_the_seed_draws_it():
    torch.manual_seed(0)
    for unit in (LRU(1, 8), GRU(1, 8)):
        horizon = memory_horizon(unit, BIT, sequences=8, cap=10_000)
        assert horizon.max() < 2000
        assert torch.equal(horizon, memory_horizon(unit, BIT, sequences=8, cap=10_000))


def test_a_model_and_its_tokens():
    model = SequenceModel(ModelConfig(1, 1, hidden_size=8, unit="bmru+lru"))
    assert memory_horizon(model, BIT, sequences=2, cap=50).shape == (2,)
    words = SequenceModel(ModelConfig(4, 1, hidden_size=8, encoder="embedding"))

    def letters(B, T, generator):
        return torch.randint(2, 4, (B, T), generator=generator)

    assert memory_horizon(words, torch.tensor([0, 1]), letters, sequences=2, cap=50).max() <= 50
    with pytest.raises(ValueError, match=r"`noise` must be a function where inputs are tokens, got 1\.0"):
        memory_horizon(words, torch.tensor([0, 1]))


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match=r"`write` must be a tensor of two rows, .*, got shape \(1, 1\)"):
        memory_horizon(latch(), BIT[:1])
    for name in ("sequences", "cap"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
            memory_horizon(latch(), BIT, **{name: 0})
    with pytest.raises(ValueError, match=r"`noise` must be in \[0, inf\), got -1"):
        memory_horizon(latch(), BIT, -1)
    for given, came in ((lambda B, T, _: torch.zeros(B, T + 5, 1), r"\(32, 14, 1\)"), (lambda *_: None, "NoneType")):
        with pytest.raises(ValueError, match=rf"`noise` must give inputs of shape \(32, 9, 1\), got {came}"):
            memory_horizon(latch(), BIT, given, cap=10)
    with pytest.raises(TypeError, match="`noise` must be a number or a function, got str"):
        memory_horizon(latch(), BIT, "a")
    with pytest.raises(ValueError, match=r"`write` must have shape \(B, T, M=1\), got \(2, 1, 2\)"):
        memory_horizon(latch(), torch.zeros(2, 2))


@pytest.mark.parametrize("name", list(UNITS))
def test_under_the_datas_own_inputs_the_first_step_is_the_write(name, monkeypatch):
    monkeypatch.setattr("remanent.analysis.horizon.STEPS", 7)
    torch.manual_seed(3)
    unit, x = sized(UNITS, name, 1, 6), 0.6 * torch.randn(4, 40, 1)
    horizon = memory_horizon(unit, BIT, x)
    assert horizon.tolist() == [slow_horizon(unit, row[1:], 40) for row in x]
    assert torch.equal(memory_horizon(unit, BIT, x.transpose(0, 1), batch_first=False), horizon)
    assert torch.equal(memory_horizon(unit, BIT, x, cap=9), horizon.clamp(max=9))


class Own(nn.Module):
    """A module of a user's own: a unit, or cells in a loop, and a head at every step."""

    def __init__(self, unit, *, every=True):
        super().__init__()
        self.unit, self.head, self.every = unit, nn.Linear(6, 3), every

    def forward(self, x):
        if isinstance(self.unit, BMRUCell):
            h, outputs = None, []
            for x_t in x:
                h = self.unit(x_t, h)
                outputs.append(h)
            y = torch.stack(outputs)
        else:
            y = self.unit(x)[0]
        return self.head(y if self.every else y[-1])


def test_any_module_is_read_from_its_units_or_its_answers():
    torch.manual_seed(3)
    unit, x = BMRU(1, 6), 0.6 * torch.randn(4, 40, 1)
    module, last = Own(unit), Own(unit, every=False)
    expected = memory_horizon(unit, BIT, x)
    assert torch.equal(memory_horizon(module, BIT, x.transpose(0, 1), batch_first=False), expected)
    assert torch.equal(memory_horizon(last, BIT, x.transpose(0, 1), batch_first=False), expected)
    cell = BMRUCell(1, 6)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in unit.state_dict().items()})
    assert torch.equal(memory_horizon(Own(cell), BIT, x.transpose(0, 1), batch_first=False), expected)
    assert module.training
    model = SequenceModel(ModelConfig(1, 2, hidden_size=8, unit="bmru+lru", head="every"))
    wrapped = nn.Sequential(model)
    for read in ("units", "answer"):
        assert torch.equal(memory_horizon(wrapped, BIT, x, read=read), memory_horizon(model, BIT, x, read=read))
    theirs, ours = nn.GRU(1, 6, batch_first=True), GRU(1, 6, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    found = memory_horizon(theirs, BIT, x, read="answer", cap=30)
    assert torch.equal(found, memory_horizon(ours, BIT, x, cap=30))


@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (Own(BMRU(1, 6)), {}, TypeError, r"`noise` must be a batch, .*, for a module that is .*, got float for Own"),
        (
            nn.GRU(1, 6),
            {"noise": torch.zeros(2, 9, 1)},
            ValueError,
            "`read` must be 'answer' where no unit or cell runs",
        ),
        (
            Own(BMRU(1, 6), every=False),
            {"noise": torch.zeros(9, 2, 1), "read": "answer", "batch_first": False},
            ValueError,
            r"`module` must give an output at every step, \(B=4, T=9, W\), to be read, got \(4, 3\)",
        ),
        (
            Own(BMRU(1, 6)),
            {"noise": torch.zeros(2, 9, 1)},
            ValueError,
            r"`read` must be 'answer' where a unit does not run once over all of .*, got \(9, 4, 6\) from BMRU",
        ),
        (
            nn.GRU(1, 3, bidirectional=True),
            {"noise": torch.zeros(2, 9, 1)},
            ValueError,
            "`module` must have one direction, got a bidirectional part in GRU",
        ),
        (
            latch(),
            {"noise": torch.zeros(2, 9, 2)},
            ValueError,
            r"`noise` must have shape \(n, T, 1\) .*, got \(2, 9, 2\)",
        ),
        (
            latch(),
            {"noise": torch.zeros(2, 9, 1, dtype=torch.int64)},
            TypeError,
            "`noise` must have the dtype of `write`, torch.float32, got torch.int64",
        ),
        (latch(), {"batch_first": 1}, TypeError, "`batch_first` must be a bool, got int"),
        ([], {}, TypeError, r"`module` must be a torch.nn.Module, got list"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(module, options, error, message):
    with pytest.raises(error, match=message):
        memory_horizon(module, BIT, **options)
