"""Fetching a data set's file once, into the cache of the user's account; what it holds is checked by who asked."""

from pathlib import Path


def fetch(data: str, url: str, file_name: str, known_hash: str | None, holding: str) -> Path:
    """Fetches a file unless the cache holds it.

    Args:
        data: what the data set is called in errors.
        url: where the folder of the file is, with a slash at its end.
        file_name: the file in it.
        known_hash: "md5:..." or "sha256:...", checked before the file is kept; None where it is not known.
        holding: what a folder of the user's own must hold, for the error.

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
