"""The Hugging Face Hub: a model's files go to a repository and come from one.

huggingface_hub is imported when it is called, and not before: its mixin class would be imported with every model, and
would wrap the constructor to guess a configuration, which a model has already.
"""

from pathlib import Path

from remanent._plugins import naming_extra
from remanent.models.config import ModelConfig
from remanent.models.saved import CONFIG_FILE, WEIGHTS_FILE

CARD_FILE = "README.md"
"""The file of a repository that holds the model card."""
LIBRARY = "remanent"
"""The name by which the hub knows models of this library."""


def upload(
    folder: Path,
    repo_id: str,
    *,
    message: str,
    private: bool | None,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
) -> str:
    """Uploads a folder's files to a repository, which is made if need be, and gives the address of the commit."""
    with naming_extra():
        import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    made = api.create_repo(repo_id, private=private, exist_ok=True)
    pushed = api.upload_folder(
        repo_id=made.repo_id,
        folder_path=folder,
        commit_message=message,
        revision=revision,
        create_pr=create_pr,
    )
    return str(pushed.pr_url or pushed.commit_url)


def download(
    repo_id: str,
    *,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    force_download: bool,
) -> Path:
    """The folder in the cache that holds a model's two files, downloaded where need be."""
    with naming_extra():
        import huggingface_hub

    return Path(
        huggingface_hub.snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
            allow_patterns=[CONFIG_FILE, WEIGHTS_FILE],
        )
    )


def plain_card(config: ModelConfig) -> str:
    """A model card that says what a model is made of, and how it is loaded.

    >>> "3 blocks of bmru" in plain_card(ModelConfig(1, 1, num_layers=3))
    True
    """
    blocks = f"{config.num_layers} block{'s' if config.num_layers > 1 else ''} of {config.unit}"
    return (
        f"---\nlibrary_name: {LIBRARY}\ntags:\n- {LIBRARY}\n---\n\n"
        f"# A sequence model of remanent\n\nIt has {blocks}, {config.hidden_size} wide, {config.input_size} inputs and "
        f"{config.output_size} outputs.\n\n{loading('OWNER/NAME')}"
    )


def loading(repo_id: str) -> str:
    """The part of a card that shows how a model is loaded."""
    return f"""```python
from remanent import SequenceModel

model = SequenceModel.from_pretrained("{repo_id}")
```
"""
