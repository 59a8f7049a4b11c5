"""Weights to the Hub: what a run has found out, without what is nobody's business, under a name."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, HfApi, eval_result_entries_to_yaml
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError

from lsn.config import to_yaml
from lsn.config.json_files import CONFIG_NAME, RECIPE_NAME, TENSORS_NAME, WEIGHTS_FORMAT
from lsn.errors import ConfigError, LSNError, WeightsError
from lsn.files import new_folder, write_text
from lsn.hub import HUB_PREFIX
from lsn.inference.runtimes.description import (
    DESCRIPTION_NAME,
    ExportDescription,
    read_description,
    write_description,
)
from lsn.inference.runtimes.opening import check_is_of
from lsn.models.starters.cards import is_starter
from lsn.models.weights import load_weights
from lsn.publishing.card import Author, model_card, public_config
from lsn.publishing.measurements import Measurement, read_measurements
from lsn.report.run import Run, read_run
from lsn.streaming.default_rules import validation_threshold

CARD_NAME = "README.md"
RESULTS_NAME = ".eval_results/lsn.yaml"
_STALE = ("onnx*/*", "openvino*/*", "torch*/*", ".eval_results/*")
"""What an earlier version may have left, and would belong to other weights."""


def push_to_hub(
    weights: str | Path, name: str, *, author: Author | None = None, private: bool | None = None, message: str = ""
) -> str:
    """Uploads a weights folder with a model card, so that `lsn.load(name)` finds it anywhere.

    Args:
        weights: a weights folder, such as a run's; exports inside it go along.
        name: at the Hub, `user/name`; made if it is not there.
        author: what only the author knows, for the card.
        private: for the author's eyes only; by default as the account is set.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        WeightsError: the weights cannot be read, or the Hub refuses them.
        DataError: an evaluation beside them is damaged.
    """
    name = name.removeprefix(HUB_PREFIX)
    api = HfApi(library_name="lsn")
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_hub_folder(weights, name, Path(scratch) / "files", author=author)
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=message or f"Upload {load_weights(folder).model.name} with LSN",
                delete_patterns=list(_STALE),
            )
        except HFValidationError:
            raise WeightsError(f"{name}: not a name of the Hub; expected user/name") from None
        except (LocalTokenNotFoundError, HfHubHTTPError) as error:
            raise WeightsError(f"{name}: {_refusal(error)}") from None
        except (HTTPError, OSError) as error:
            raise WeightsError(
                f"{name}: the Hub does not answer ({' '.join(str(error).split())[:200]}); nothing was changed there"
            ) from None
    return str(commit.commit_url)


def write_hub_folder(weights: str | Path, name: str, out: Path, *, author: Author | None = None) -> Path:
    """Writes what `push_to_hub` uploads into a new folder.

    These are the weights and their description, the recipe with the names of files instead of their paths, exports
    that are of these very weights, and the card. Lists of single videos stay where they are.

    Raises:
        WeightsError: the weights cannot be read, the folder exists, or an export is of other weights.
        DataError: an evaluation beside them is damaged.
    """
    author = author or Author()
    if is_starter(weights):
        raise ConfigError(f"{weights}: comes with LSN, so everybody has it")
    folder, loaded = Path(weights), load_weights(weights)
    run, measurements = _public_run(folder), read_measurements(folder)
    if out.exists():
        raise WeightsError(f"{out}: exists; delete it, or choose another folder")
    with new_folder(out) as partial:
        shutil.copyfile(folder / TENSORS_NAME, partial / TENSORS_NAME)
        config = WEIGHTS_FORMAT.read(folder / CONFIG_NAME)
        if loaded.events is None and (threshold := validation_threshold(folder)) is not None:
            config["validation_threshold"] = threshold
        write_text(partial / CONFIG_NAME, json.dumps(config, indent=2) + "\n")
        if run.config is not None:
            write_text(partial / RECIPE_NAME, to_yaml(run.config))
        exports = _copy_exports(folder, partial)
        write_text(partial / CARD_NAME, model_card(name, loaded, run, measurements, exports, author))
        if author.dataset is not None and measurements:
            write_text(partial / RESULTS_NAME, _eval_results(name, author.dataset, measurements[0]))
    return out


def _public_run(folder: Path) -> Run:
    try:
        run = read_run(folder, folder)
    except LSNError:  # weights alone, as after a conversion
        return Run(folder, folder)
    return run if run.config is None else replace(run, config=public_config(run.config))


def _copy_exports(folder: Path, out: Path) -> list[ExportDescription]:
    exports = []
    for path in sorted(folder.glob(f"*/{DESCRIPTION_NAME}")):
        export = read_description(path.parent)
        check_is_of(folder, export)
        shutil.copytree(path.parent, out / path.parent.name)
        if export.accuracy is not None:
            export = replace(export, accuracy=replace(export.accuracy, data=Path(export.accuracy.data).name))
            write_description(out / path.parent.name, export)
        exports.append(export)
    return exports


def _eval_results(name: str, dataset: str, measured: Measurement) -> str:
    """The figure that counts, as leaderboards of the Hub read it."""
    score = measured.scores[0]
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id="default",
        value=round(100 * score.value, 2),
        source_url=f"https://huggingface.co/{name}",
        source_name="Model card",
        notes=f"{score.name} in percent, {measured.split} data, {measured.amount}",
    )
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)


def _refusal(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
    if status in (401, 403):
        return (
            "the Hub does not let you write there; log in with `hf auth login`, or set HF_TOKEN, with a token to write"
        )
    return f"the Hub refuses it ({' '.join(str(error).split())[:200]}); nothing was changed there"
