"""`lsn push`: trained weights to the Hub, with a model card."""

from __future__ import annotations

from pathlib import Path

from lsn.cli.ui.console import output
from lsn.errors import ConfigError
from lsn.files import read_text


def push(
    weights: Path,
    name: str,
    /,
    *,
    private: bool = False,
    license: str | None = None,
    dataset: str | None = None,
    notes: Path | None = None,
    message: str = "",
    out: Path | None = None,
) -> None:
    """Upload trained weights to the Hugging Face Hub, with a card.

    The card says what was measured. The weights, their recipe with names of files instead of paths, and exports inside
    the folder go there; lists of single videos do not. Anybody who may read them uses them by name:
    lsn predict user/name clip.mp4.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's.
    name
        At the Hub: user/name. It is made if it is not there.
    private
        Make it for your eyes only.
    license
        Licence of the weights, as the Hub calls it: apache-2.0.
    dataset
        Data set of the Hub that the figures were measured on: user/name.
    notes
        File with Markdown of yours for the card.
    message
        Of the commit.
    out
        Write what would be uploaded into this new folder instead, to look at.
    """
    from lsn.publishing.card import Author
    from lsn.publishing.push import CARD_NAME, push_to_hub, write_hub_folder

    text = "" if notes is None else read_text(notes, "notes", error=ConfigError)
    author = Author(license, dataset, text)
    if out is not None:
        folder = write_hub_folder(weights, name, out, author=author)
        output().print(f"Not uploaded. The card: {folder / CARD_NAME}")
        return
    address = push_to_hub(weights, name, author=author, private=private, message=message)
    output().print(f"{address}\nEvery command and predictor takes {name} where a weights folder is expected.")
