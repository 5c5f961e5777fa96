"""`remanent verify`: whether a finished run is right at every length, with a proof or a word on which it fails."""

from pathlib import Path
from typing import Any

from remanent._files import to_json
from remanent._plugins import suggested
from remanent.cli._shared import make_parser

STATUS = {"right": 0, "wrong": 1, "too many states": 3}
"""The exit status of every outcome; 2 is that of an error."""


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    from remanent.analysis.automata.walk import MOST_STATES

    parser = make_parser(
        "Walks through every state that a finished run's model and its task's automaton reach together: proves that "
        "the model is right at every length (status 0), finds a shortest word on which it fails (1), or gives up (3)."
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--most-states", type=int, default=MOST_STATES, help="give up after so many pairs of states")
    parser.add_argument("--prune", action="store_true", help="first drop the K-state heads that are not needed")
    parser.add_argument(
        "--train-readout", type=int, default=0, help="with --prune: train what reads the heads for so many steps again"
    )
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="a new folder for the proof and a pruned model (default: verified/ in the run)",
    )
    parser.add_argument(
        "--check", type=Path | None, default=None, help="run every state that this proof lists again (1: does not hold)"
    )
    parser.add_argument("--results", type=Path | None, default=None, help="a file to which a line of JSON is appended")
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the task's data")
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.review.verification import Pruning, verify

    if options.check is not None:
        for name in ("out", "results", "prune", "train_readout"):
            if options[name]:
                raise ValueError(f"`--{name.replace('_', '-')}` must not be given with --check, which writes nothing")
        return _check(options)
    if options.train_readout and not options.prune:
        raise ValueError(f"`--train-readout` must come with --prune, got {options.train_readout} alone")
    found = verify(
        options.run,
        most_states=options.most_states,
        pruning=Pruning(options.train_readout) if options.prune else None,
        out=options.out,
        results=options.results,
        data_dir=options.data_dir,
    )
    if options.json:
        print(to_json(found.record | {"proof": None if found.proof is None else str(found.proof)}))
    else:
        _print(found)
    return STATUS[found.verdict.outcome]


def _check(options: Any) -> int:
    import dataclasses

    from remanent.review.verification import check

    found = check(options.run, options.check, data_dir=options.data_dir)
    if options.json:
        print(to_json({"run": str(options.run), "proof": str(options.check), **dataclasses.asdict(found)}))
        return 0 if found.holds else 1
    for note in found.notes:
        print(f"Note: {note}")
    if found.holds:
        print(f"The proof holds: right at every length, in {found.states:,} pairs of states{_margin(found.margin)}.")
    else:
        print(f"The proof does not hold: {found.difference}.")
    return 0 if found.holds else 1


def _print(found: Any) -> None:
    verdict, pruned = found.verdict, found.pruned
    if pruned is not None:
        kept = "; ".join(f"block {head.block}, unit {head.unit}, head {head.number}" for head in pruned.kept)
        trained = f", with the readout trained for {pruned.readout_steps:,} steps" if pruned.readout_steps else ""
        print(f"Pruned to {len(pruned.kept)} of {pruned.heads} heads ({kept}){trained}.")
    elif found.unpruned is not None:
        print(f"Not pruned: {found.unpruned}.")
    states = f"{verdict.states:,} pairs of states of the model and the task"
    if verdict.outcome == "right":
        print(f"Right at every length: {states}, every letter tried in each{_margin(verdict.margin)}.")
        print(f"The proof is {found.proof}.")
        if pruned is not None:
            exported = suggested("export", str(found.proof.parent), "--format", "c")
            print(f"The pruned model lies beside it; {exported} writes it in C.")
    elif verdict.outcome == "wrong":
        word, replay = " ".join(found.letter_names[letter] for letter in verdict.word), verdict.replay
        count = "1 letter" if len(verdict.word) == 1 else f"{len(verdict.word):,} letters"
        print(f"Wrong after {count}: {word}. All shorter words are right.")
        said = [_answer(answer) for answer in (replay.forward, replay.step)]
        print(f"Replayed: the answer must be {replay.target}; the model gives {said[0]} at once, {said[1]} in steps.")
    else:
        print(f"Too many states: given up after {states}.")
        print(f"All words of up to {verdict.length:,} letters are right{_margin(verdict.margin)}.")
        if pruned is None and found.unpruned is None and found.heads > 1:
            print("Heads that are not needed multiply the states; --prune drops them.")
        print("--most-states raises the limit.")


def _answer(answer: int) -> str:
    return "no answer (no largest logit)" if answer < 0 else f"{answer}"


def _margin(margin: float | None) -> str:
    """The smallest margin, where there is one, as the end of a sentence."""
    if margin is None or margin == float("inf"):
        return ""
    return f"; the right logit leads by at least {margin:.3g}"
