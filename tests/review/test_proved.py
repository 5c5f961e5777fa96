"""A page shows the proof in a run's folder, with the machine that was learned, unless it is of other weights."""

import pytest
import torch

from automata_models import exact_mru
from remanent._files import write_json
from remanent.models import SequenceModel
from remanent.report.tables import DASH
from remanent.review.proved import MOST_STATES, proof_sections, read_proof
from remanent.review.verification import verify
from remanent.tasks import CopyFirst, GroupWord, Parity, Tomita
from remanent.training import Experiment, TrainingConfig


def proved(folder, task, automaton=None):
    """The folder of a run of a model that was built by hand, with its proof."""
    model = exact_mru(task.automaton if automaton is None else automaton)
    model.save(folder)
    write_json(folder / "config.json", Experiment(task, model.config, TrainingConfig(seed=3)).to_dict())
    assert verify(folder, most_states=1000).verdict.outcome == "right"
    return model


def cells(section):
    return [[cell.text for cell in row] for row in section.tables[0].cells]


def test_the_section_shows_verdict_and_machine(tmp_path):
    task = Tomita(language=4)
    model = proved(tmp_path / "run", task)
    proof = read_proof(tmp_path / "run", model, task)
    assert proof.machine == task.automaton
    (section,) = proof_sections({"mru": {3: proof}})
    smallest = "4 states, the smallest for the task"
    assert cells(section) == [["mru", "3", "right at every length", "4", "4", smallest, DASH]]
    (picture,) = section.figures
    assert picture.caption.startswith("mru, seed 3: the machine that it learned")
    assert [text.get_text() for text in picture.figure.axes[0].texts][-4:] == ["1", "1", "1", "0"]


def test_a_pruned_model_is_counted_and_large_machines_are_not_drawn(tmp_path):
    task = GroupWord(group=f"Z{MOST_STATES + 1}")
    model = proved(tmp_path / "run", task)
    model.save(tmp_path / "run" / "verified")
    proof = read_proof(tmp_path / "run", exact_mru(Parity.automaton), task)
    assert proof.is_current
    (section,) = proof_sections({"mru": {0: proof}})
    assert cells(section)[0][-1] == f"{sum(p.numel() for p in model.parameters()):,} parameters"
    assert not section.figures


def test_a_proof_of_other_weights_or_of_another_task_is_no_verdict(tmp_path):
    model = proved(tmp_path / "run", Parity())
    other = SequenceModel.load(tmp_path / "run")
    with torch.no_grad():
        other.head.bias[0] += 1e-3
    for proof in (
        read_proof(tmp_path / "run", other, Parity()),
        read_proof(tmp_path / "run", model, GroupWord(group="S3")),
    ):
        (section,) = proof_sections({"mru": {3: proof}})
        assert cells(section) == [["mru", "3", "the proof is of other weights or another task", *[DASH] * 4]]
        assert not section.figures


def test_no_proof_no_section(tmp_path):
    model = exact_mru(Parity.automaton)
    assert read_proof(tmp_path, model, Parity()) is None
    assert read_proof(tmp_path, model, CopyFirst()) is None
    assert proof_sections({"mru": {}}) == []
    (tmp_path / "verified").mkdir()
    (tmp_path / "verified" / "proof.json").write_text("{}")
    with pytest.raises(ValueError, match=r"proof\.json must hold a proof"):
        read_proof(tmp_path, model, Parity())
