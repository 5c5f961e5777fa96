"""The command line as a shell meets it: bars and lines, completion, modules of the user, threads, files of runs."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import warnings

import pytest

from remanent import _terminal
from remanent._plugins import begun_with
from remanent._restore import threads_allowed
from remanent._terminal import progress_bar
from remanent.cli import COMMANDS, SHELLS, main
from remanent.records.configuration import Experiment
from remanent.training import RECIPES, load_run, resume_run
from remanent.training.folder import read_experiment
from remanent.training.surroundings import with_threads

TINY = [
    *("--quiet", "--task.steps=4", "--model.hidden_size=4", "--model.num_layers=1", "--training.steps=2"),
    *("--training.batch_size=2", "--training.checkpoint_every=1", "--training.threads=1"),
]
UNITS = """
from remanent.units import BMRU, UNITS

UNITS["mine"] = BMRU
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "copy-first", "--out", str(folder), *TINY]) == 0
    return folder


class Terminal(io.StringIO):
    """Standard error, as a terminal has it."""

    def isatty(self):
        return True


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("remanent 0.")


def test_off_a_terminal_each_new_note_is_a_line_on_stderr(capsys):
    for lines in (True, False):
        with progress_bar(2, lines=lines) as show:
            for done, note in ((0, "first"), (1, "first"), (1, "second")):
                show(done, note)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "remanent: first\nremanent: second\n")


def test_on_a_terminal_a_bar_moves_on_stderr_and_is_gone_at_the_end(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(_terminal.sys, "stderr", terminal)
    with progress_bar(4, lines=False) as show:
        show(3, "scoring [4]")
    assert "75%" in terminal.getvalue()
    assert "scoring [4]" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_beside_a_bar_what_is_printed_goes_to_the_file_that_it_is_sent_to(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(_terminal.sys, "stderr", terminal)
    for still in (False, True):
        with progress_bar(2, still=still) as show:
            show(1, "half")
            print("a line")
    assert "half" in terminal.getvalue()
    assert capsys.readouterr().out == "a line\n" * 2


def test_evaluate_says_what_it_scores_and_on_which_split(run, capsys):
    assert main(["evaluate", str(run), "--length", "4", "8", "4", "--examples", "3", "--split", "validation"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "remanent: scoring 4 steps\nremanent: scoring 8 steps\n"
    assert "3 examples of the validation split" in " ".join(shown.out.split())
    assert main(["evaluate", str(run), "--examples", "3", "--json"]) == 0
    shown = capsys.readouterr()
    assert (len(shown.out.splitlines()), shown.err) == (1, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_and_options(shell, capsys):
    pytest.importorskip("shtab", reason="completion needs shtab, of the extra `train`")
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("evaluate", "failing-limit", "model.hidden_size", "--import"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, capture_output=True)


def test_an_unknown_shell_is_rejected(capsys):
    assert main(["--print-completion=tcsh"]) == 2
    assert "`--print-completion` must be one of bash, zsh, fish, got 'tcsh'" in capsys.readouterr().err


def test_without_a_command_all_of_them_are_shown(capsys):
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert all(name in shown.err for name in COMMANDS)


def test_help_has_neither_types_of_paths_nor_a_default_twice(capsys):
    for command in ("evaluate", "train"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "Path" not in text
        assert "(default: all) (type: int | null)" in text or command == "train"


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["train", "digit"], "`RECIPE` must be one of digits, copy-first"),
        (["train", "copy-first", "--model.unit=min_gruu"], "`unit` must be made of min_gru, "),
        (["train", "copy-first", "--model.unit=mru", "--model.norm=lyer"], "`norm` must be one of rms, layer"),
    ],
)
def test_the_nearest_names_come_first_where_there_are_many(arguments, first, capsys):
    assert main(arguments) == 2
    assert first in capsys.readouterr().err


def test_modules_are_imported_before_and_after_the_command_noted_and_never_by_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "units_of_mine.py").write_text(UNITS)
    made = ["train", "copy-first", "--model.unit=mine", "--out", "run", *TINY]
    assert main([*made[:2], "--import", "units_of_mine", *made[2:]]) == 0
    assert "`remanent --import units_of_mine evaluate run`" in capsys.readouterr().out
    noted = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert noted["imports"] == ["units_of_mine"]
    assert main(["--import=units_of_mine", "evaluate", "run", "--examples=2"]) == 0
    capsys.readouterr()

    from remanent import units

    del units.UNITS["mine"], sys.modules["units_of_mine"]  # as in a process that was not given the module
    assert main(["evaluate", "run", "--examples=2"]) == 2
    error = capsys.readouterr().err
    assert "got 'mine'; a unit of your own needs `remanent --import MODULE ...`" in error
    assert error.rstrip().endswith("; the run was begun with `remanent --import units_of_mine ...`")
    assert "units_of_mine" not in sys.modules


@pytest.mark.parametrize("names", [None, "os", 3, ["x; rm -rf /"], ["\x1b[2J"], [["os"]], {"a": "b"}])
def test_what_is_no_module_is_never_suggested(names):
    assert begun_with(names) == ""


def test_the_configuration_of_a_run_is_one_for_the_next(run, monkeypatch):
    begun = []
    monkeypatch.setattr("remanent.training.start_run", lambda experiment, *others, **options: begun.append(experiment))
    monkeypatch.setattr("remanent.training.record_run", lambda folder, **options: None)
    config = str(run / "config.json")
    assert main(["train", "copy-first", "--config", config]) == 0
    assert main(["train", "copy-first", "--config", config, "--training.seed=7"]) == 0
    experiment, _ = load_run(run)
    seeded = dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, seed=7))
    assert begun == [experiment, seeded]


@pytest.mark.parametrize(
    ("table", "key", "value", "rule"),
    [
        ("task", "name", "digits", "`task.name` of `--config` must be 'copy-first', as the recipe copy-first has it"),
        ("model", "output_size", 7, "`model.output_size` of `--config` must be 1, as the recipe copy-first has it"),
    ],
)
def test_the_configuration_of_a_run_of_another_task_is_rejected(run, tmp_path, capsys, table, key, value, rule):
    config = json.loads((run / "config.json").read_text())
    config[table][key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    out = tmp_path / "run"
    assert main(["train", "copy-first", "--config", str(tmp_path / "config.json"), "--out", str(out)]) == 2
    assert rule in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("allowed", "threads"), [(None, 4), ("2", 2), ("8", 4), ("3,1", 3), ("0", 4), ("many", 4), ("", 4)]
)
def test_no_more_threads_than_the_system_allows(monkeypatch, allowed, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if allowed is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert threads_allowed(4) == threads


def test_a_new_run_takes_no_more_threads_than_allowed_unless_it_is_told_to(monkeypatch):
    begun = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("remanent.training.start_run", lambda experiment, *others, **options: begun.append(experiment))
    monkeypatch.setattr("remanent.training.record_run", lambda folder, **options: None)
    for flags in ([], ["--training.threads=3"]):
        assert main(["train", "copy-first", *flags]) == 0
    assert RECIPES["copy-first"]().training.threads == 2
    assert [experiment.training.threads for experiment in begun] == [1, 3]


def test_a_resumed_run_may_have_other_threads_with_a_warning(run, capsys):
    experiment = read_experiment(run)
    assert with_threads(experiment, None, said=True) is with_threads(experiment, 1, said=True) is experiment
    with pytest.warns(UserWarning, match="begun with threads=1 and goes on with 3: its weights will be the same up to"):
        changed = with_threads(experiment, 3, said=True)
    assert isinstance(changed, Experiment)
    assert changed.training == dataclasses.replace(experiment.training, threads=3)
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
        with_threads(experiment, 0, said=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["train", "--resume", str(run), "--threads", "3", "--quiet"]) == 0
    assert "goes on with 3" in capsys.readouterr().err
    resume_run(run, progress=False, threads=1)
