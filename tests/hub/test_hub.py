"""Models go to a stand-in of the hub and come back, cards say what records say, shipped models load offline."""

import inspect
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

import remanent
from remanent import ModelConfig, SequenceModel
from remanent.hub import push_run, run_card
from remanent.models import SHIPPED, shipped_folder
from remanent.models.saved import CONFIG_FILE, WEIGHTS_FILE
from remanent.records.record import RECORD_FILE, read_records
from remanent.tasks.base import read_whole
from remanent.training import RECIPES, evaluate

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")


class Hub:
    """What the library calls of huggingface_hub, over a folder; each call must fit the signature of the real one."""

    real = huggingface_hub.HfApi, huggingface_hub.snapshot_download

    def __init__(self, root):
        self.root, self.calls = root, []

    def HfApi(self, **options):  # noqa: N802 - as it is called
        inspect.signature(self.real[0].__init__).bind(None, **options)
        return SimpleNamespace(create_repo=self.create_repo, upload_folder=self.upload_folder)

    def create_repo(self, repo_id, **options):
        inspect.signature(self.real[0].create_repo).bind(None, repo_id, **options)
        self.calls.append(("create_repo", options))
        full = repo_id if "/" in repo_id else f"me/{repo_id}"
        (self.root / full).mkdir(parents=True, exist_ok=options["exist_ok"])
        return SimpleNamespace(repo_id=full)

    def upload_folder(self, **options):
        inspect.signature(self.real[0].upload_folder).bind(None, **options)
        self.calls.append(("upload_folder", options))
        shutil.copytree(options["folder_path"], self.root / options["repo_id"], dirs_exist_ok=True)
        url = f"https://hub/{options['repo_id']}/commit/1"
        return SimpleNamespace(commit_url=url, pr_url=f"{url}/pr" if options["create_pr"] else None)

    def snapshot_download(self, repo_id, **options):
        inspect.signature(self.real[1]).bind(repo_id, **options)
        self.calls.append(("snapshot_download", options))
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    for name in ("HfApi", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, getattr(hub, name))
    return hub


def test_a_model_goes_to_the_hub_and_comes_back(hub):
    model = SequenceModel(ModelConfig(2, 3, hidden_size=4)).eval()
    assert model.push_to_hub("tiny", private=True, token="t") == "https://hub/me/tiny/commit/1"
    assert model.push_to_hub("tiny", create_pr=True, card="# Mine") == "https://hub/me/tiny/commit/1/pr"
    assert hub.calls[0] == ("create_repo", {"private": True, "exist_ok": True})
    assert sorted(path.name for path in (hub.root / "me/tiny").iterdir()) == ["README.md", CONFIG_FILE, WEIGHTS_FILE]
    assert (hub.root / "me/tiny/README.md").read_text() == "# Mine"
    back = SequenceModel.from_pretrained("me/tiny", revision="main", local_files_only=True)
    x = torch.randn(2, 5, 2)
    assert torch.equal(back(x)[0], model(x)[0])
    assert not back.training
    name, options = hub.calls[-1]
    assert name == "snapshot_download"
    assert options["allow_patterns"] == [CONFIG_FILE, WEIGHTS_FILE]
    assert torch.equal(SequenceModel.from_pretrained(hub.root / "me/tiny")(x)[0], model(x)[0])
    assert hub.calls[-1] is not None
    assert len(hub.calls) == 5  # a folder is read without the hub


def test_a_run_goes_with_the_card_that_its_record_makes(hub):
    push_run(shipped_folder("flip-flop"), "me/bit", license="mit")
    card = (hub.root / "me/bit/README.md").read_text()
    (record,) = read_records(shipped_folder("flip-flop") / RECORD_FILE).records
    assert card.startswith("---\nlibrary_name: remanent\nlicense: mit\n")
    assert 'SequenceModel.from_pretrained("me/bit")' in card
    for test in record.tests:
        assert f"| test | {test.length:,} | {test.examples:,} | {100 * test.score:.1f} |" in card
    assert f"up to {record.failing_length:,} steps" in card
    assert f"| torch | {record.versions.packages['torch']} |" in card
    with pytest.raises(FileNotFoundError, match=r"`run` must be the folder of a finished run with its record\.json"):
        push_run(hub.root, "me/none")
    assert "me/none" not in str(hub.calls)


def test_a_card_has_write_rates_and_no_folder_of_the_machine(tmp_path):
    folder = shipped_folder("copy-first")
    line = json.loads((folder / RECORD_FILE).read_text())
    line["config"]["task"]["data_dir"] = "/home/somebody/data"
    (tmp_path / RECORD_FILE).write_text(json.dumps(line) + "\n")
    rates = [{"step": 200, "write_rates": {"a": 0.5}}, {"step": 400, "write_rates": {"a": 0.25}}, {"step": 401}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rates))
    card = run_card(tmp_path)
    assert "| `a` | 25.0% |" in card
    assert "somebody" not in card


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "remanent\[hub\]"'):
        SequenceModel.from_pretrained("me/absent")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_those_of_their_records(name):
    folder = shipped_folder(name)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", CONFIG_FILE, WEIGHTS_FILE, RECORD_FILE]
    (record,) = read_records(folder / RECORD_FILE).records
    model = remanent.load(name)
    assert sum(p.numel() for p in model.parameters()) == record.parameters
    assert record.recipe == name
    assert record.set == {}
    assert model.config.unit == RECIPES[name]().model.unit
    scores = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("| test |")]
    assert scores == [line for line in run_card(folder).splitlines() if line.startswith("| test |")]


def test_shipped_models_answer_as_well_as_they_say():
    for name, worst in (("copy-first", 0.05), ("flip-flop", None)):
        task, model = RECIPES[name]().task, remanent.load(name)
        score = evaluate(model, task, examples=32)
        assert score == 1 if worst is None else score < worst
    x, y = read_whole(RECIPES["flip-flop"]().task, "test", 0, 4, 500)
    asked = y >= 0
    assert torch.equal(remanent.load("flip-flop")(x)[0].argmax(-1)[asked], y[asked])


def test_what_is_shipped_is_small_and_named_where_a_name_is_unknown():
    root = shipped_folder("copy-first").parent
    assert sorted(path.name for path in root.iterdir()) == sorted(SHIPPED)
    assert sum(path.stat().st_size for path in root.rglob("*")) < 2 * 2**20
    with pytest.raises(ValueError, match="`name` must be one of copy-first, flip-flop, spoken-digits, got 'nope'"):
        remanent.load("nope")
