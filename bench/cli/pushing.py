"""A folder to a repository of the hub, with the user's own token."""

from pathlib import Path

from bench.errors import MissingError, UsageError

_LONGEST = 200  # characters of what the hub says
_LOGIN = "log in by 'hf auth login', or set HF_TOKEN to a token that may write"


def check_push(name: str, *, offline: bool) -> None:
    """Refuse, before any work, what could not be sent.

    Raises:
        UsageError: the name is none of a repository, or the network is out of bounds.
        MissingError: there is no token.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # it is there, but not declared

    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise UsageError("--push names no repository", mend="write it as OWNER/NAME, of letters, digits, - and _")
    if offline:
        raise UsageError("--push needs the network, and --offline forbids it", mend="leave one of them out")
    if get_token() is None:
        raise MissingError("--push finds no token of the hub", mend=_LOGIN)


def pushed(folder: Path, name: str, message: str) -> str:
    """Send a folder to a repository, made private where it is not there, and say where it is.

    Raises:
        MissingError: the hub cannot be reached, or refuses. The folder stays as it is.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        told = " ".join(str(error).split())[:_LONGEST]
        again = f"{_LOGIN}, then 'hf upload --private {name} {folder}'"
        raise MissingError(f"{folder} is written, but not sent to {name} ({told})", mend=again) from None
    except ValueError as error:  # the hub does not take the card
        told = " ".join(str(error).split())[:_LONGEST]
        again = f"change {folder / 'README.md'}, then 'hf upload --private {name} {folder}'"
        raise MissingError(f"{folder} is written, but not sent to {name} ({told})", mend=again) from None
    return f"{api.endpoint}/{name}"
