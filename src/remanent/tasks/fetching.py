"""Where the files of a data set are: in a folder of the user, or fetched once into the cache of the account."""

import os
from pathlib import Path

VARIABLE = "REMANENT_DATA"
"""The environment variable that names a folder of data where a task's `data_dir` does not."""


def data_folder(data_dir: str | None) -> str | None:
    """The folder in which a task looks for its files: `data_dir`, else REMANENT_DATA; None if neither is given."""
    return data_dir or os.environ.get(VARIABLE)


def fetch(data: str, url: str, file_name: str, known_hash: str | None, holding: str) -> Path:
    """Fetches a file unless the cache holds it; the caller checks what it holds.

    Args:
        data: the name of the data set in errors.
        url: the address of the file's folder, with a slash at its end.
        file_name: the name of the file in that folder.
        known_hash: "md5:..." or "sha256:...", checked before the file is kept; None if it is not known.
        holding: what a folder of the user must hold instead, for the error.

    Raises:
        ModuleNotFoundError: pooch is not installed.
        ConnectionError: the file cannot be fetched.
    """
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'fetching {data} needs pooch: pip install "remanent[train]" ({error})') from None

    folder = pooch.os_cache("remanent")
    try:
        path = pooch.retrieve(url + file_name, known_hash, fname=file_name, path=folder, progressbar=False)
    except Exception as error:
        raise ConnectionError(
            f"{data} could not be fetched from {url} ({error}); give a folder that holds {holding} by --data-dir or "
            "REMANENT_DATA"
        ) from None
    return Path(path)
