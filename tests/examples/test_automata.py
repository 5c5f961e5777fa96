"""The unit of the example on automata obeys the laws of a unit, and its table says what the records say."""

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from automata_models import exact_mru, set_transitions
from remanent import ModelConfig, SequenceModel
from remanent._files import write_json
from remanent.cli import main
from remanent.records.lines import read_lines
from remanent.records.record import read_records
from remanent.report.tables import DASH
from remanent.tasks import TASKS, Parity
from remanent.training import Experiment, TrainingConfig, load_run, start_run
from remanent.units import UNITS
from result_records import record, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "automata"


def load(name):
    spec = importlib.util.spec_from_file_location(f"automata_{name}", EXAMPLE / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture
def unit():
    """The unit's class, which has its name while a test runs."""
    yield load("negative").NegativeLinear
    del UNITS["negative_linear"]


def test_a_sequence_is_its_steps_and_agrees_with_the_equation(unit):
    torch.manual_seed(0)
    rnn = unit(3, 5, batch_first=True).double()
    x, h = torch.randn(2, 70, 3, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    y, last = rnn(x, h)
    by_step, state, by_hand = h, h[0], []
    for t in range(70):
        out, by_step = rnn.step(x[:, t], by_step)
        factor, candidate = (x[:, t] @ rnn.weight_ih_l0.T + rnn.bias_ih_l0).chunk(2, dim=-1)
        state = torch.tanh(factor) * state + (1 - torch.tanh(factor)) * candidate
        by_hand.append(state)
        torch.testing.assert_close(out, y[:, t], rtol=0, atol=1e-12)
    torch.testing.assert_close(by_step, last, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(by_hand, dim=1), y, rtol=0, atol=1e-12)
    assert (rnn.recurrence.gates(rnn._params("_l0"), x)[0] < 0).any()


def test_its_gradients_are_those_of_the_equation(unit):
    rnn = unit(2, 3, bias=False, batch_first=True).double()
    x = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h, weight: rnn(x, h)[0], (x, h, rnn.weight_ih_l0))


def test_it_has_weights_that_are_right_at_every_length_in_floating_point(unit):
    """In float32 the factor rounds to 1 and -1, so that the state is exactly the parity."""
    sizes = {"hidden_size": 1, "num_layers": 1, "mlp": "none", "norm": "none", "head": "every"}
    model = SequenceModel(ModelConfig(2, 2, unit="negative_linear", encoder="table", **sizes)).eval()
    weights = {"layer.units.0.weight_ih_l0": [[20.0, -20.0], [0.0, 0.5]], "layer.units.0.bias_ih_l0": [0.0, 0.0]}
    weights |= {"project.weight": [[1.0]], "project.bias": [0.0]}
    model.blocks[0].load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    model.head.load_state_dict({"weight": torch.tensor([[-1.0], [1.0]]), "bias": torch.tensor([0.5, -0.5])})
    letters, parity = Parity(steps=20_000).batch(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, _ = model(letters)
    assert torch.equal(scores[..., 1] - scores[..., 0], (2 * parity - 1).float())


def test_it_is_trained_and_read_again_like_the_others(unit, tmp_path):
    model = ModelConfig(2, 2, hidden_size=8, unit="negative_linear", encoder="embedding", head="every")
    training = TrainingConfig(steps=4, batch_size=4, checkpoint_every=2, threads=1)
    start_run(Experiment(Parity(steps=8), model, training), tmp_path / "run", progress=False)
    _, trained = load_run(tmp_path / "run")
    x = torch.randint(2, (2, 40))
    with torch.no_grad():
        whole, _ = trained(x)
    session = trained.stream(2)
    parts = torch.cat([session.push(part) for part in x.split(7, dim=1)], 1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def table():
    """The script that makes the table."""
    return load("table")


def run(unit, seed=0, *, task="group-word", failing=None, scores=(0.125, 0.0), status="done", length=32, **options):
    """The record of a run on a task of words."""
    overrides = {f"task.{name}": value for name, value in options.items()}
    given = {"metric": "sequence_accuracy", "failing": failing, "status": status, "length": length}
    return record(task, unit, seed, scores, overrides=overrides, **given)


def proof(of, outcome="right", states=60, **changed):
    """The line of a walk through a run, with more than the table reads."""
    line = {"run": "runs/it", "identity": of.id, "task": of.config["task"], "unit": of.unit, "seed": of.seed}
    return line | {"outcome": outcome, "states": states, "word": None, "margin": 1.5, "seconds": 2.0} | changed


def files(place, records, proofs):
    """The two files with these lines, as options of the script."""
    write(place / "automata.jsonl", records)
    (place / "proofs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in proofs))
    return ["--results", str(place / "automata.jsonl"), "--proofs", str(place / "proofs.jsonl")]


def rows_of(text):
    """Name to the other cells of each row of a table, with a minus for the dash."""
    lines = text.replace(DASH, "-").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    return {first: others for first, *others in cells}


def test_the_table_counts_proofs_and_says_how_far_the_others_get(table, tmp_path, capsys):
    mru = [run("mru", seed, group="A5", failing=2**20 if seed < 3 else 7 + seed) for seed in range(5)]
    others = [
        run("min_gru", group="A5", failing=3),
        run("gru", group="A5", scores=(0.125, 0.0)),
        run("attention", group="A5", status="failed"),
        run("my_unit", task="tomita", language=7, failing=0, length=64),
        run("mru", task="flip-flop", cells=4, failing=2**20),
        run("bmru", task="flip-flop", failing=2**20),
        run("gru", task="flip-flop", values=3, failing=9),
        run("gru", task="copy-first"),
    ]
    proofs = [
        proof(mru[0], "too many states", 100_000),
        *(proof(mru[seed], states=60 + seed) for seed in range(3)),
        proof(mru[3], "wrong", 17, word=[1, 2]),
        proof(run("bmru", task="parity"), states=1),
        proof(run("mru", task="parity"), states=2, model={}),
    ]
    table.main(files(tmp_path, [*mru, *others], proofs))
    text = capsys.readouterr().out
    rows = rows_of(text)
    assert rows["task"] == ["trained at", "MRU", "BMRU", "minGRU", "GRU", "attention", "my_unit"]
    assert rows["A5"] == ["32", "3 of 5 proved, 60-62 states; 10.5 [10-11]", "-", "3", "12.5 % at 32", "1 failed", "-"]
    assert rows["parity"] == ["-", "1 of 1 proved, 2 states", "1 of 1 proved, 1 state", *"----"]
    assert rows["flip-flop, 1 bit"] == ["32", "-", "≥ 1,048,576", *"----"]
    assert rows["flip-flop, 4 bits"] == ["32", "≥ 1,048,576", *"-----"]
    assert rows["Tomita 7"] == ["64", *"-----", "0"]
    assert rows["Dyck, 2 brackets to depth 5"] == [*"-------"]
    assert rows["Mamba"][0] == "85 to 4,352"
    assert list(rows)[2:19] == [row.name for row in table.ROWS]


def test_the_page_gets_the_tables_between_its_marks(table, tmp_path):
    given = files(tmp_path, [run("gru", task="parity", failing=5)], [])
    page = tmp_path / "automata.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):
        table.main([*given, "--page", str(page)])
        text = page.read_text()
        assert text.startswith(f"before\n{table.BEGIN}\n")
        assert text.endswith(f"{table.END}\nafter\n")
        assert "| parity | 32 | 5 |\n" in text
        assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="`--page` must hold <!-- begin automata -->"):
        table.main([*given, "--page", str(page)])


def test_a_line_that_is_no_proof_is_named(table, tmp_path):
    given = files(tmp_path, [], [proof(run("mru", task="parity")), {"identity": "1", "unit": "mru"}])
    with pytest.raises(ValueError, match=r"proofs.jsonl, line 2 must be .* without task, outcome, states"):
        table.main(given)


def test_every_row_is_one_task_with_an_automaton(table):
    made = [TASKS[row.task](**row.options) for row in table.ROWS]
    assert all(task.automaton for task in made)
    for row in table.ROWS:
        rows = [other.name for other in table.ROWS if table.is_of(other, {"name": row.task} | row.options)]
        assert rows == [row.name]


def test_the_trainings_of_the_readme_are_commands(monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = (EXAMPLE / "README.md").read_text()
    commands = [shlex.split(line)[1:] for line in re.findall(r"^remanent .*train .*$", text, re.MULTILINE)]
    units = []
    try:
        for command in commands:
            with pytest.raises(SystemExit) as stop:
                main([*command, "--print_config"])
            assert stop.value.code == 0
            units += re.findall(r"^  unit: (\w+)$", capsys.readouterr().out, re.MULTILINE)
    finally:
        UNITS.pop("negative_linear", None)
        sys.modules.pop("negative", None)
    assert units == ["mru", "negative_linear"]


@pytest.mark.parametrize("pruned", [False, True])
def test_a_word_is_streamed_through_a_verified_model(pruned, tmp_path, monkeypatch, capsys):
    task = Parity(steps=8)
    exact_mru(task.automaton).save(tmp_path / "run")
    experiment = Experiment(task, SequenceModel.load(tmp_path / "run").config, TrainingConfig(seed=3))
    write_json(tmp_path / "run" / "config.json", experiment.to_dict())
    assert main(["verify", str(tmp_path / "run"), *(["--prune"] if pruned else [])]) == 0
    capsys.readouterr()
    results = tmp_path / "streamed.jsonl"
    words = ["stream.py", str(tmp_path / "run" / "verified"), "--letters", "5000", "--results", str(results)]
    monkeypatch.setattr(sys, "argv", words)
    stream = load("stream")
    stream.main()
    line = json.loads(results.read_text())
    assert (line["task"]["name"], line["seed"], line["letters"], line["right"]) == ("parity", 3, 5000, True)
    assert len(line["weights"]) == 64
    assert capsys.readouterr().out == results.read_text()
    wrong = SequenceModel.load(tmp_path / "run")
    set_transitions(wrong, 1, [0, 0])
    monkeypatch.setattr(stream, "load_run", lambda folder: (experiment, wrong))
    if not pruned:
        assert stream.streamed(tmp_path / "run" / "verified", 100)["right"] is False


def test_the_page_has_the_table_of_the_records(tmp_path):
    root, page, table = EXAMPLE.parents[1], tmp_path / "automata.md", load("table")
    page.write_text((root / "docs" / "automata.md").read_text())
    records = read_records(root / "results" / "automata.jsonl").records
    table.write_page(page, records, table.read_proofs(root / "results" / "proofs.jsonl"))
    assert page.read_text() == (root / "docs" / "automata.md").read_text()


def test_every_word_that_was_streamed_was_right():
    lines = [line.value for line in read_lines(EXAMPLE.parents[1] / "results" / "streamed.jsonl").whole]
    assert len(lines) >= 10
    assert all(line["right"] and line["letters"] == 2**20 for line in lines)
