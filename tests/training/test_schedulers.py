"""What the environment says: torchrun's complete set of variables counts, and nothing that a scheduler sets."""

import signal
import subprocess
import sys

import pytest
from lightning_fabric.utilities.rank_zero import rank_zero_only

from cases import exhaustive
from remanent._launched import RANKS, VARIABLES, Launched, launched
from remanent.cli import main
from remanent.distributed import Launch
from remanent.distributed.ranks import joined
from remanent.training import start_run
from remanent.training.variants import experiment_for

TASKS = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train"}
SCHEDULERS = {
    "slurm of 4": TASKS | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_STEP_ID": "0"},
    "slurm of 1": TASKS | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
    "lsf": {
        **{"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "ranks", "LSB_HOSTS": "one two"},
        **{"JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"},
    },
    "mpi": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMI_RANK": "1", "PMI_SIZE": "2"},
    "torchelastic without a port": {
        **{"TORCHELASTIC_RUN_ID": "7", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"},
        "MASTER_ADDR": "localhost",
    },
    "a rank alone": {"RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "1", "NODE_RANK": "1"},
    "empty": {"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""},
    "kubernetes": {"KUBERNETES_PORT": "1", "RANK": "1", "WORLD_SIZE": "2"},
    "lightning's own": {"PL_TRAINER_LIMIT_TRAIN_BATCHES": "1", "PL_TRAINER_FAST_DEV_RUN": "1", "PL_GLOBAL_SEED": "3"},
}
SIZES = {"task.steps": 5, "model.hidden_size": 2, "model.num_layers": 1, "training.steps": 2, "training.batch_size": 2}
RUN = experiment_for("copy-first", "bmru", 0, SIZES)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """An environment without a launcher, as most users have it."""
    for name in (*VARIABLES, *RANKS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of RUN where no scheduler set anything."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    start_run(RUN, folder, progress=False)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_decides_nothing(tmp_path, monkeypatch, capsys, undisturbed, scheduler):
    monkeypatch.chdir(tmp_path)
    for name, value in SCHEDULERS[scheduler].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 2)  # what Lightning guesses of a rank as it is imported
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"the checkpoint of another run, where Lightning looks for one")
    options = [f"--{name}={value}" for name, value in SIZES.items()]
    assert main(["train", "copy-first", "--quiet", "--training.threads=1", "--out=run", *options]) == 0
    assert "run is finished; score it with `remanent evaluate run`." in capsys.readouterr().out
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == undisturbed
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert rank_zero_only.rank == 2
    assert main(["evaluate", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("remanent: error: ")  # without the rank of another program


def test_a_requeue_of_the_scheduler_writes_no_checkpoint(tmp_path, monkeypatch):
    for name, value in SCHEDULERS["slurm of 1"].items():
        monkeypatch.setenv(name, value)
    seen = []

    def look():
        seen.append(signal.getsignal(signal.SIGUSR1))

    start_run(RUN, tmp_path / "run", progress=False, after_checkpoint=look)
    assert set(seen) == {signal.SIG_DFL}


COMPLETE = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
COMPLETE |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_a_complete_set_of_variables_is_a_place(monkeypatch):
    for name, value in COMPLETE.items():
        assert launched() is None
        monkeypatch.setenv(name, value)
    assert launched() == Launched(1, 4, 1, 2)
    for name in COMPLETE:
        with monkeypatch.context() as without:
            without.setenv(name, "")
            assert launched() is None


@pytest.mark.parametrize(("name", "value"), [("RANK", "4"), ("WORLD_SIZE", "two"), ("LOCAL_RANK", "-1")])
def test_a_variable_of_a_complete_set_must_be_right(monkeypatch, name, value):
    for key, good in (COMPLETE | {name: value}).items():
        monkeypatch.setenv(key, good)
    rule = f"`{name}` must be a whole number, at least .* got '{value}'"
    with pytest.raises(ValueError, match=rule), joined(Launch()):
        pass


@exhaustive
def test_ranks_without_a_number_do_not_keep_lightning_from_being_imported(monkeypatch):
    for name in RANKS:
        monkeypatch.setenv(name, "")
    code = "import remanent.training.run; import lightning_utilities.core.rank_zero as r; print(r.rank_zero_only.rank)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
