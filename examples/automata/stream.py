"""Streams one word through verified models in chunks, a check of what was proved: a proof covers every length.

python stream.py runs/*/verified --letters 1048576 --results streamed.jsonl
"""

import argparse
from pathlib import Path

from remanent._files import read_json, to_json
from remanent._machine import versions
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.records.lines import append_line
from remanent.training import evaluate, load_run


def streamed(folder: Path, letters: int) -> dict[str, object]:
    """Whether the model that a proof is about answers one random word right at every letter.

    Args:
        folder: the folder that `remanent verify` made, in that of the run.
        letters: the length of the word.
    """
    experiment, model = load_run(folder.parent)
    if (folder / CONFIG_FILE).exists():  # the pruned model
        model = SequenceModel.load(folder)
    right = evaluate(model, experiment.task, length=letters, examples=1) == 1
    made = read_json(folder / "proof.json")["origin"]
    return {
        "task": experiment.to_dict()["task"],
        "seed": experiment.training.seed,
        "weights": made["weights"],
        "letters": letters,
        "right": right,
        **versions(),
    }


def main() -> None:
    """Parses the command line, streams, and appends a line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verified", nargs="+", type=Path, help="folders that `remanent verify` made")
    parser.add_argument("--letters", type=int, default=2**20, help="the length of the word")
    parser.add_argument("--results", type=Path, help="a file to which a line of JSON is appended for each")
    arguments = parser.parse_args()
    for folder in arguments.verified:
        line = streamed(folder, arguments.letters)
        print(to_json(line), flush=True)
        if arguments.results is not None:
            append_line(arguments.results, line)


if __name__ == "__main__":
    main()
