"""A finished run on the Hugging Face Hub: its model, and the card that its record makes."""

from pathlib import Path

from remanent.hub.card import LICENSE, run_card
from remanent.models import SequenceModel


def push_run(
    run: str | Path,
    repo_id: str,
    *,
    license: str = LICENSE,
    commit_message: str = "Push model using remanent",
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Uploads the model of a finished run, with a card that its record makes; no data and no checkpoints are uploaded.

    It needs the extra `hub`. `SequenceModel.from_pretrained(repo_id)` loads the model.

    Args:
        run: the folder of the run.
        repo_id: "owner/name", or "name" for one of your own; the repository is made if need be.
        license: the licence of the model, by its name on the hub.
        commit_message: the message of the commit.
        private: whether a repository that is made is private; None for the owner's default.
        token: an access token; None for the one that is stored on this machine.
        revision: the branch; None for the default one.
        create_pr: whether a pull request is opened, rather than a commit made.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        FileNotFoundError: the folder holds no finished run with its record.
        ValueError: a file is damaged.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    card = run_card(run, repo_id=repo_id, license=license)
    return SequenceModel.load(run).push_to_hub(
        repo_id,
        card=card,
        commit_message=commit_message,
        private=private,
        token=token,
        revision=revision,
        create_pr=create_pr,
    )
