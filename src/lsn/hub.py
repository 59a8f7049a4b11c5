"""Models of the Hugging Face Hub by name: `user/name`, or as timm writes it, `hf-hub:user/name@revision`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lsn.errors import WeightsError

HUB_PREFIX = "hf-hub:"
"""Before a name that is to be looked up at the Hub, whatever folders there are."""
_commits: dict[str, str] = {}
"""By name, the commit that this process reads."""
_BARE_NAME = re.compile(r"([\w.-]{1,96})/[\w.-]{1,96}(@[\w./-]{1,96})?", re.ASCII)


def is_hub_name(name: str | Path) -> bool:
    """Whether a name is of the Hub: `hf-hub:user/name`, or `user/name` where neither that nor `user` is a folder."""
    text = str(name)
    if text.startswith(HUB_PREFIX) or text in _commits:
        return True
    bare = _BARE_NAME.fullmatch(text)
    return bare is not None and not any(map(os.path.lexists, (text, bare[1])))


def pinned(name: str) -> str:
    """A name of the Hub with the commit that this process has read, if it has; any other name as it is."""
    if not is_hub_name(name):
        return name
    model, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
    commit = _commits.get(name, revision)
    return f"{HUB_PREFIX}{model}{'@' if commit else ''}{commit}"


def hub_folder(name: str | Path, needed: Sequence[str], *, optional: Sequence[str] = ()) -> Path:
    """The folder of the local cache with files of a model; what is missing or out of date there is downloaded.

    Without a connection it is what was downloaded before. All files that a process asks for are of one commit: that
    which the Hub had when it asked first. `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` count, as in all
    programs that use the Hub.

    Args:
        name: `user/name` or `hf-hub:user/name`, both with `@revision` if it is not to be the newest.
        needed: names of files, relative to the model.
        optional: patterns of further files, such as `onnx/*`, which may be there or not.

    Raises:
        WeightsError: there is no such model or revision, it may not be read, it lacks a file that is needed, or there
            is no connection and a file was never downloaded.
    """
    folder = _downloaded(str(name), (*needed, *optional))
    if missing := [file for file in needed if not (folder / file).is_file()]:
        raise WeightsError(
            f"{name}: no {' and no '.join(missing)}, neither at the Hub nor in what was downloaded; expected what "
            "`lsn push` writes"
        )
    return folder


@cache
def _downloaded(name: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Shown to people alone."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options | {"disable": not sys.stderr.isatty()})

    here = "" if name.startswith(HUB_PREFIX) else "no such weights folder (`lsn train` writes them), and "
    model, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
    commit = _commits.get(name, revision or None)
    try:
        folder = snapshot_download(model, revision=commit, allow_patterns=list(patterns), tqdm_class=Bar)
    except HFValidationError:
        raise WeightsError(f"{name}: not a name of the Hub; expected user/name, as in its address") from None
    except RevisionNotFoundError:
        raise WeightsError(f"{name}: the model has no revision {revision}; leave it out for the newest") from None
    except RepositoryNotFoundError:
        raise WeightsError(
            f"{name}: {here}no such model at the Hub, or not one that you may read; correct the name, or log in with "
            "`hf auth login`"
        ) from None
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{name}: {here}the Hub does not answer ({_reason(error)}); {', '.join(patterns)} must be downloaded once "
            "before it can be used offline"
        ) from None
    except (HTTPError, OSError) as error:
        raise WeightsError(f"{name}: {here}the Hub could not be read ({_reason(error)}); try again later") from None
    _commits[name] = Path(folder).name
    return Path(folder)


def _reason(error: BaseException) -> str:
    """What went wrong, in one line, as the library that noticed it says."""
    return " ".join(str(error.__cause__ or error).split())[:200]
