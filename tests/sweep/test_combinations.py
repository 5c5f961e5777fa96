"""What the runs of a grid are, what they are known by, and that a wrong one is refused before anything is done."""

import dataclasses
import itertools

import pytest

from remanent.records.identity import identity
from remanent.sweep.combinations import combinations, read_choices, read_seeds
from remanent.tasks import CopyFirst
from remanent.training import RECIPES
from remanent.training.variants import experiment_for


@pytest.mark.parametrize(
    ("words", "seeds"),
    [(["0:3"], [0, 1, 2]), (["4"], [4]), (["7", "0:2"], [7, 0, 1]), (["3:3", "5"], [5])],
)
def test_seeds_are_numbers_and_ranges(words, seeds):
    assert read_seeds(words) == seeds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["3:3"], "`--seed` must name at least one seed, got '3:3'"),
        (["x"], "`--seed` must be numbers, or ranges START:STOP, got 'x'"),
        (["1:2:3"], "`--seed` must be numbers, or ranges START:STOP, got '1:2:3'"),
        ([":"], "`--seed` must be numbers, or ranges START:STOP, got ':'"),
    ],
)
def test_bad_seeds_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        read_seeds(words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps=3", "`--set` must be KEY=VALUE,VALUE with a KEY task.X, model.X or training.X, got 'steps=3'"),
        ("task.steps", "`--set` must be KEY=VALUE,VALUE"),
        ("task.=3", "`--set` must be KEY=VALUE,VALUE"),
        ("data.x=3", "`--set` must be KEY=VALUE,VALUE"),
        ("task.steps=", "`--set` must give task.steps at least one value and none empty, got 'task.steps='"),
        ("task.steps=1,,2", "`--set` must give task.steps at least one value and none empty"),
        ("training.seed=1", "`--set` must not set training.seed, which is --seed, got 'training.seed=1'"),
        ("model.unit=lru", "`--set` must not set model.unit, which is --unit"),
        ("training.threads=2", "`--set` must not set training.threads, which is --threads"),
        ("task.data_dir=x", "`--set` must not set task.data_dir, which is --data-dir"),
    ],
)
def test_bad_choices_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        read_choices([word])


def test_a_key_is_chosen_once():
    with pytest.raises(ValueError, match=r"`--set` must name a key once, got task\.steps twice"):
        read_choices(["task.steps=1", "task.steps=2"])


def test_every_combination_is_there_once_with_an_id_of_its_own():
    choices = read_choices(["training.anneal=true,false", "task.steps=5,7,5"])
    units = ["bmru", "lru", "bmru+lru", "lru"]
    runs = combinations(["copy-first"], units, [0, 1, 0], choices)
    found = {(r.experiment.model.unit, r.experiment.training.seed, *r.overrides.values()) for r in runs}
    assert found == set(itertools.product(("bmru", "lru", "bmru+lru"), (0, 1), (True, False), (5, 7)))
    assert len(runs) == len({run.id for run in runs}) == len({run.name for run in runs}) == 24
    for run in runs:
        assert run.experiment.training.anneal is run.overrides["training.anneal"]
        assert run.experiment.task == CopyFirst(run.overrides["task.steps"])
        assert run.name == f"copy-first-{run.experiment.model.unit}-{run.experiment.training.seed}-{run.id[:8]}"


def test_an_id_depends_on_what_a_run_depends_on_and_on_nothing_else():
    def one(data_dir=None, threads=1, **choices):
        return combinations(["digits"], ["bmru"], [0], small_digits(**choices), threads=threads, data_dir=data_dir)[0]

    def small_digits(**choices):
        return read_choices([f"training.{key}={value}" for key, value in choices.items()])

    same = [one(), one(threads=2), one(data_dir="x"), one(learning_rate="8e-3"), one(learning_rate="0.008")]
    assert len({run.id for run in same}) == 1
    assert one(weight_decay="1").id == one(weight_decay="1.0").id == one(weight_decay="1e0").id
    assert len({run.id for run in [one(), one(learning_rate="1e-3"), one(steps="2"), one(anneal="false")]}) == 4
    assert same[0].id == "".join(c for c in same[0].id if c in "0123456789abcdef")
    assert len(same[0].id) == 16
    assert same[2].experiment.task.data_dir == "x"


def test_a_combination_alone_is_the_recipe():
    for name, recipe in RECIPES.items():
        base = recipe()
        experiment = experiment_for(name, base.model.unit, 0, {}, threads=base.training.threads)
        assert experiment == base


def test_the_model_follows_the_task_and_the_unit():
    rows = experiment_for("digits", "lru", 0, {})
    assert (rows.model.input_size, rows.model.r_min, rows.model.r_max) == (8, 0.9, 0.999)
    pixels = experiment_for("digits", "bmru+lru", 4, {"task.reading": "pixel", "model.hidden_size": 32}, threads=2)
    assert (pixels.model.input_size, pixels.model.r_min, pixels.model.r_max) == (1, 0.5, 0.95)
    assert (pixels.model.hidden_size, pixels.training.seed, pixels.training.threads) == (32, 4, 2)
    assert experiment_for("copy-first", "lru", 0, {"model.r_min": 0.3}).model.r_min == 0.3


def test_a_recipe_that_reads_the_mean_still_does(monkeypatch):
    def averaging():
        base = RECIPES["digits"]()
        return dataclasses.replace(base, model=dataclasses.replace(base.model, head="mean"))

    monkeypatch.setitem(RECIPES, "averaging", averaging)
    assert experiment_for("averaging", "bmru", 0, {"task.padding": 1}).model.head == "mean"
    assert experiment_for("parity", "mru", 0, {"model.encoder": "table"}).model.encoder == "table"
    assert experiment_for("parity", "mru", 0, {"task.steps": 9}).model.encoder == "embedding"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["task.padding=1"],
            "copy-first bmru seed 0 task.padding=1: the task copy-first has the unknown key 'padding'",
        ),
        (["task.steps=5,0"], "copy-first bmru seed 0 task.steps=0: `steps` must be at least 1, got 0"),
        (["task.steps=many"], "task.steps=many: the task copy-first: `steps` must be of type int, got 'many'"),
        (["task.steps=[1"], r"`steps` must be of type int, got '\[1'"),
        (["training.steps=1.5"], "the training: `steps` must be of type int, got 1.5"),
        (["training.learning_rate=fast"], "the training: `learning_rate` must be of type float, got 'fast'"),
        (["training.anneal=1"], "the training: `anneal` must be of type bool, got 1"),
        (["model.depth=1"], "the model has the unknown key 'depth'"),
        (["model.input_size=2"], "`model.input_size` must be 1 for the task copy-first, got 2"),
        (["model.encoder=table"], "`model.encoder` must be linear for the task copy-first, got table"),
    ],
)
def test_a_bad_combination_is_refused_by_its_name(words, message):
    with pytest.raises(ValueError, match=message):
        combinations(["copy-first"], ["bmru"], [0], read_choices(words))


def test_a_text_is_known_by_what_it_says_and_not_by_its_name(tmp_path):
    ids = []
    for name, text in (("a", "ab"), ("b", "ab"), ("c", "ba")):
        (tmp_path / name).write_text(text * 2000)
        (run,) = combinations(["characters"], ["bmru"], [0], {"task.path": [str(tmp_path / name)]})
        ids.append(run.id)
    assert ids[0] == ids[1] != ids[2]


def test_an_option_at_its_default_does_not_count_so_that_one_may_be_added():
    config = RECIPES["copy-first"]().to_dict()
    before = {name: dict(table) for name, table in config.items()}
    for table, key in (("model", "clock"), ("training", "weight_decay"), ("task", "steps")):
        del before[table][key]
    assert identity(before) == identity(config)
    before["model"]["clock"] = "decay"
    assert identity(before) != identity(config)


def test_how_speech_is_standardised_makes_another_run():
    runs = combinations(["spoken-digits"], ["bmru"], [0], {"task.standardise": ["clip", "set"]})
    assert len({run.id for run in runs}) == 2
    assert runs[0].id == combinations(["spoken-digits"], ["bmru"], [0], {})[0].id
    before = runs[0].experiment.to_dict()
    del before["task"]["standardise"]
    assert identity(before) == runs[0].id
