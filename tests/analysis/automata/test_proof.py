"""Proofs, and attacks on them: what is changed, and what the check must find then."""

import dataclasses
import json
import math

import pytest
import torch

from automata_models import (
    ENDS_IN_ONES,
    convolution_and_latch,
    empty_model,
    exact_mru,
    latch_flip_flop,
    set_transitions,
)
from remanent.analysis import Machine, Proof, check_proof, walk
from remanent.tasks import FlipFlop, GroupWord, Parity
from remanent.tasks.automata.automaton import Automaton

Z5 = GroupWord(group="Z5").automaton


def prove(model, automaton):
    machine = Machine(model)
    return Proof.of(machine, automaton, walk(machine, automaton))


def check(proof, model, automaton):
    return check_proof(proof, Machine(model), automaton)


@pytest.mark.parametrize(
    ("model", "automaton"),
    [
        (exact_mru(Z5), Z5),
        (latch_flip_flop(), FlipFlop().automaton),
        (convolution_and_latch(), ENDS_IN_ONES),
        (empty_model(2, 1, unit="bmru", hidden_size=1), Automaton([[0, 0]], answers=[0])),
    ],
    ids=["mru", "bmru", "convolution", "no margin"],
)
def test_a_proof_holds_after_it_was_written_and_read(model, automaton):
    proof = prove(model, automaton)
    read = Proof.from_json(proof.to_json())
    assert all(torch.equal(a, b) for a, b in zip(read.walked, proof.walked, strict=True))
    assert dataclasses.replace(read, walked=proof.walked) == proof
    checked = check(read, model, automaton)
    assert (checked.holds, checked.difference, checked.notes) == (True, None, ())
    assert (checked.states, checked.margin) == (len(proof.walked.pairs), proof.margin)


def test_a_proof_says_what_it_was_made_with():
    origin = json.loads(prove(exact_mru(Z5), Z5).to_json())["origin"]
    assert len(origin["weights"]) == 64
    assert (origin["dtype"], origin["device"], origin["config"]["num_states"]) == ("float32", "cpu", 5)
    assert {"backend", "packages", "python", "platform", "processor"} <= set(origin)


def test_a_used_entry_that_is_changed_refutes_the_model_and_its_old_proof():
    model = exact_mru(Z5)
    proof = prove(model, Z5)
    set_transitions(model, 3, [3, 2, 0, 1, 2])
    assert walk(Machine(model), Z5).outcome == "wrong"
    checked = check(proof, model, Z5)
    assert (checked.holds, checked.margin) == (False, None)
    assert checked.difference == "letter 1 leads from state 3 of the model to another state than listed"


def test_an_unused_entry_that_is_changed_leaves_the_proof_true():
    model = exact_mru(Z5, more_states=1)
    proof = prove(model, Z5)
    set_transitions(model, 5, [0, 5, 1, 2, 3])
    assert walk(Machine(model), Z5).outcome == "right"
    checked = check(proof, model, Z5)
    assert checked.holds
    assert len(checked.notes) == 1
    assert "hash differs" in checked.notes[0]


def test_the_proof_of_another_alphabet_does_not_hold():
    Z3, more = GroupWord(group="Z3").automaton, Automaton([[0, 1, 0], [1, 0, 1]], answers=[0, 1])
    for automaton, sizes in ((Z3, "3 states and 3"), (more, "2 states and 3")):
        checked = check(prove(exact_mru(automaton), automaton), exact_mru(Parity.automaton), Parity.automaton)
        assert not checked.holds
        rest = "letters, is not that of the task, of 2 states and 2 letters"
        assert checked.difference == f"the automaton of the proof, of {sizes} {rest}"


def test_a_proof_with_another_task_s_automaton_does_not_hold():
    """The letters are the same, and so are the states: only what is right differs."""
    even = Automaton(Parity.automaton.transitions, answers=[1, 0])
    model = exact_mru(even)
    checked = check(prove(model, even), model, Parity.automaton)
    assert "the automaton of the proof" in checked.difference
    forged = dataclasses.replace(prove(model, even), automaton=Parity.automaton)
    assert "is answered with 1, not 0" in check(forged, model, Parity.automaton).difference


def test_a_stale_proof_of_another_model_does_not_hold():
    parity = Parity.automaton
    spare = exact_mru(parity, more_states=1)
    stale = prove(spare, parity)
    set_transitions(spare, 0, [0, 2])  # the same machine, with another state for an odd number of ones
    set_transitions(spare, 2, [2, 0])
    with torch.no_grad():
        spare.head.weight[1, 2] = 4
    assert walk(Machine(spare), parity).outcome == "right"
    checked = check(stale, spare, parity)
    assert checked.difference == "letter 1 leads from state 0 of the model to another state than listed"
    checked = check(stale, exact_mru(parity), parity)
    assert checked.difference == "the states of the proof are layers.0.0 (1, 3), those of the model layers.0.0 (1, 2)"


def test_a_readout_with_a_tie_is_refuted():
    model = exact_mru(Parity.automaton)
    proof = prove(model, Parity.automaton)
    with torch.no_grad():
        model.head.weight[0, 1] = 4
    assert walk(Machine(model), Parity.automaton).outcome == "wrong"
    checked = check(proof, model, Parity.automaton)
    place = "letter 1 in pair 0 (state 0 of the model, 0 of the automaton)"
    assert checked.difference == f"{place} is answered with -1, not 1"


@pytest.mark.parametrize("make", [latch_flip_flop, lambda: exact_mru(FlipFlop().automaton)], ids=["bmru", "mru"])
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")], ids=" then ".join)
def test_a_model_that_is_cast_to_another_dtype_is_walked_in_it(make, dtypes):
    automaton, (before, after) = FlipFlop().automaton, dtypes
    model = make().to(getattr(torch, before))
    for name, value in model.named_parameters():
        if "alpha" in name:
            value.data.fill_(0.1)  # a state that float64 holds as another number than float32
    proof = prove(model, automaton)
    assert proof.origin["dtype"] == before
    model.to(getattr(torch, after))
    assert walk(Machine(model), automaton).outcome == "right"
    checked = check(proof, model, automaton)
    assert checked.holds
    assert f"The proof was made with dtype {before}, not {after}." in checked.notes


def test_a_model_that_is_right_in_float64_alone_has_no_proof_in_float32():
    """A candidate that is below its threshold by less than float32 can tell is held in float64, and set in float32."""
    automaton = FlipFlop().automaton
    model = latch_flip_flop().double()
    with torch.no_grad():
        model.blocks[0].layer.units[0].weight_ih_l0[0, 2] = 0.5 - 1e-12
    proof = prove(model, automaton)
    model.float()
    assert walk(Machine(model), automaton).word == (0, 2)
    assert not check(proof, model, automaton).holds


def test_what_is_listed_as_an_answer_that_is_not_asked_for_proves_nothing_and_may_differ():
    automaton, model = FlipFlop().automaton, latch_flip_flop()
    proof = prove(model, automaton)
    assert proof.walked.answers[0, 2] == -1  # nothing was set yet: both logits are 0
    with torch.no_grad():
        model.head.bias[0] = 0.25
    checked = check(proof, model, automaton)
    assert (checked.holds, checked.margin) == (True, 1.75)


def test_what_is_forged_in_a_proof_is_found():
    model, automaton = exact_mru(Z5), Z5
    proof = prove(model, automaton)
    states, after, answers, pairs = proof.walked

    def difference(**changed):
        return check(dataclasses.replace(proof, walked=proof.walked._replace(**changed)), model, automaton).difference

    assert "leads to a pair that is not listed" in difference(pairs=pairs[:4])
    assert "the start states" in difference(pairs=pairs[1:])
    assert "the start states" in difference(pairs=torch.tensor([[0, 1]]))
    assert "to another state than listed" in difference(after=after.flip(1))
    assert "is listed with the answer 4, not 0" in difference(answers=answers.flip(1))
    assert "the start states" in difference(states=states.roll(1, 0))
    impossible = torch.cat([states[:4], states[4:] * 0 + 1])
    assert "the model takes no state as those from 0 on: `h`" in difference(states=impossible)
    wrong = exact_mru(Z5)
    set_transitions(wrong, 3, [3, 2, 0, 1, 2])
    with pytest.raises(ValueError, match="`verdict` must be that of a model that is right, got 'wrong'"):
        Proof.of(Machine(wrong), Z5, walk(Machine(wrong), Z5))


def test_a_file_that_is_no_proof_is_rejected():
    content = prove(exact_mru(Parity.automaton), Parity.automaton).to_json()
    values = json.loads(content)
    first, rest = values["states"][0], values["states"][1:]

    def rejected(match, **changed):
        with pytest.raises(ValueError, match=match):
            Proof.from_json(json.dumps(values | changed), "p.json")

    rejected("p.json must hold a proof of format 1, got 7", format=7)
    rejected("p.json must hold a proof, got one that is corrupt: a state must have 0 bytes", parts=[])
    rejected("`pairs` must be of states that are listed", pairs=[[0, 0], [2, 1]])
    rejected(r"`pairs` must be in \[0, ", pairs=[[0, 0], [-1, 1]])
    rejected("`after` must be ints of shape", states=[first | {"after": [0, 0.5]}, *rest])
    rejected(r"`after` must be in \[0, 2\), got 0 to 5", states=[first | {"after": [0, 5]}, *rest])
    rejected("is corrupt", states=[first | {"state": "AAAA"}, *rest])
    rejected("is corrupt", states=[])
    rejected("`margin` must be a number", margin="large")
    rejected("is corrupt", automaton={"transitions": [[7]], "answers": [0]})
    with pytest.raises(ValueError, match=r"p\.json must hold JSON"):
        Proof.from_json(content[:-40], "p.json")
    assert Proof.from_json(json.dumps(values | {"margin": None})).margin == math.inf
