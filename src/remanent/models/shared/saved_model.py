"""What every model can: it is saved to a folder and loaded from one, and shared on the Hugging Face Hub."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, Self

from torch import nn

from remanent.models.config import ModelConfig
from remanent.models.saved import Names, read_model, write_saved
from remanent.models.shared.hub_client import CARD_FILE, download, plain_card, upload


class SavedModel(nn.Module):
    """A module that its configuration and its weights make up."""

    config: ModelConfig
    names: Names
    epsilon: Any

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes `model.json` and `model.safetensors` into a folder, which is made if need be.

        The configuration is written with the `epsilon` that the annealed units have now, and with `names`.

        Args:
            folder: where the files go.
            overwrite: whether a model that is there already is replaced. Whenever the process ends, the folder holds
                one of the two models whole, or, between two renames, none that `load` would read.

        Raises:
            ValueError: a parameter is on the meta device, without a value; or `names` are not those of all inputs or
                outputs.
            FileExistsError: the folder holds a model, and `overwrite` is False.
            OSError: the folder cannot be made or written; nothing was replaced.
        """
        config = self.config if self.epsilon is None else dataclasses.replace(self.config, epsilon=self.epsilon)
        write_saved(Path(folder), config, self.names, self.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote, in evaluation mode, onto the CPU, each parameter in the dtype that it was saved in.

        Nothing in the files is ever executed. They are compared with each other before anything of their sizes is
        allocated. No default device or dtype changes the result, and torch's global generator is left as it was.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is corrupt, a key is unknown, a weight is of a dtype that no parameter has, or weights
                and configuration do not fit.
        """
        model, names = read_model(Path(folder), cls)
        assert isinstance(model, cls)
        model.names = names
        return model.eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: str | None = None,
        commit_message: str = "Push model using remanent",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Uploads the files of `save`, and a model card, to a repository of the Hugging Face Hub.

        The repository is made if need be. It needs the extra `hub`. `remanent.hub.push_run` uploads the model of a run
        with a card made of its record.

        Args:
            repo_id: "owner/name", or "name" for one of your own.
            card: the text of the model card, README.md; None for one made of the configuration alone.
            commit_message: the message of the commit.
            private: whether a repository that is made is private; None for the owner's default.
            token: an access token; None for the one that is stored on this machine.
            revision: the branch; None for the default one.
            create_pr: whether a pull request is opened, rather than a commit made.

        Returns:
            The address of the commit, or of the pull request.

        Raises:
            ValueError: a parameter is on the meta device, without a value.
            ModuleNotFoundError: huggingface_hub is not installed.
        """
        with tempfile.TemporaryDirectory() as staged:
            self.save(staged)
            Path(staged, CARD_FILE).write_text(plain_card(self.config) if card is None else card, encoding="utf-8")
            return upload(
                Path(staged),
                repo_id,
                message=commit_message,
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """Loads a model from the Hugging Face Hub, or from a folder, in evaluation mode.

        Only the two files of `save` are downloaded, and nothing in them is ever executed. A repository needs the extra
        `hub`.

        Args:
            name: a folder that exists, or a repository, "owner/name".
            revision: the branch, tag or commit; None for the newest.
            token: an access token; None for the one that is stored on this machine.
            cache_dir: the folder of the cache; None for that of huggingface_hub.
            local_files_only: whether only what the cache holds is read.
            force_download: whether files are downloaded though the cache holds them.

        Returns:
            The model, on the CPU.

        Raises:
            FileNotFoundError: a file of the model is missing.
            ValueError: a file is corrupt, or weights and configuration do not fit.
            ModuleNotFoundError: huggingface_hub is not installed.
        """
        folder = Path(name)
        if not folder.is_dir():
            folder = download(
                str(name),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        return cls.load(folder)
