"""Weights to the Hub: what a run has found out, without what is nobody's business, under a name."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from lsn.config import load_config, to_yaml
from lsn.config.json_files import CONFIG_NAME, RECIPE_NAME, TENSORS_NAME, WEIGHTS_FORMAT
from lsn.errors import ConfigError, LSNError, WeightsError
from lsn.files import new_folder, write_text
from lsn.hub import HUB_PREFIX, hub_folder, is_hub_name
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
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def push_to_hub(
    weights: str | Path, name: str, *, author: Author | None = None, private: bool = False, message: str = ""
) -> str:
    """Uploads a weights folder with a model card, so that `lsn.load(name)` finds it anywhere.

    A model that LSN pushed there before is replaced, its card included; files that were added by hand stay.

    Args:
        weights: a weights folder, such as a run's; exports inside it go along.
        name: at the Hub, `user/name`; made if it is not there.
        author: what only the author knows, for the card.
        private: for the author's eyes only; otherwise as the account is set, or as it is there.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: the name is none of the Hub.
        WeightsError: the weights cannot be read, the Hub refuses them, or the name holds something else.
        DataError: an evaluation beside them is damaged.
    """
    name = name.removeprefix(HUB_PREFIX)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name}: not a name of the Hub; expected user/name")
    api = HfApi(library_name="lsn")
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_hub_folder(weights, name, Path(scratch) / "files", author=author)
        try:
            files = _files_there(api, name, private=private)
            api.create_repo(name, private=private or None, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=message or "Upload weights with LSN",
                delete_patterns=_of_earlier_weights(files),
            )
        except (LocalTokenNotFoundError, HfHubHTTPError) as error:
            raise WeightsError(f"{name}: {_refusal(error)}") from None
        except (HTTPError, OSError) as error:
            raise WeightsError(f"{name}: the Hub does not answer ({_one_line(error)}); push again") from None
        except ValueError as error:  # what the Hub says of the data before the card
            raise WeightsError(f"{name}: the Hub refuses the card ({_one_line(error)}); correct it") from None
    return str(commit.commit_url)


def _files_there(api: HfApi, name: str, *, private: bool) -> list[str]:
    """What is there under a name, if anything.

    Raises:
        WeightsError: it is not of LSN, or public.
    """
    try:
        there = api.model_info(name)
    except RepositoryNotFoundError:
        return []
    if private and not there.private:
        raise WeightsError(f"{name}: is there already, and public; make it private at the Hub, or choose another name")
    files = [sibling.rfilename for sibling in there.siblings or ()]
    if CONFIG_NAME in files or TENSORS_NAME in files:
        folder = hub_folder(f"{HUB_PREFIX}{name}", [], optional=[CONFIG_NAME])
        try:
            WEIGHTS_FORMAT.read(folder / CONFIG_NAME)
        except WeightsError:
            raise WeightsError(f"{name}: holds a model that is not of LSN; choose another name") from None
    return files


def _of_earlier_weights(files: list[str]) -> list[str]:
    """Files, by name or pattern, that would belong to other weights."""
    exports = [Path(file).parent for file in files if Path(file).name == DESCRIPTION_NAME]
    return [RECIPE_NAME, RESULTS_NAME, *(f"{folder}/*" for folder in exports)]


def write_hub_folder(weights: str | Path, name: str, out: Path, *, author: Author | None = None) -> Path:
    """Writes what `push_to_hub` uploads into a new folder.

    These are the weights and their description, the recipe with the names of files instead of their paths, exports
    that are of these very weights, and the card. Lists of single videos stay where they are.

    Raises:
        ConfigError: these are no weights of yours, or the recipe beside them is damaged.
        WeightsError: the weights cannot be read, the folder exists, or an export or evaluation is of other weights.
        DataError: an evaluation beside them is damaged.
    """
    author, name = author or Author(), name.removeprefix(HUB_PREFIX)
    if is_starter(weights) or is_hub_name(weights):
        raise ConfigError(f"{weights}: no folder of yours, and everybody has it by that name")
    folder, loaded = Path(weights), load_weights(weights)
    run, measurements = _public_run(folder), read_measurements(folder)
    _check_are_of(folder, loaded.metrics, measurements)
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
    """How weights were trained; what is not there is left out, what is damaged is an error."""
    config = public_config(load_config(folder / RECIPE_NAME)) if (folder / RECIPE_NAME).exists() else None
    try:
        return replace(read_run(folder, folder), config=config)
    except LSNError:  # weights alone, as after a conversion
        return Run(folder, folder)


def _check_are_of(folder: Path, metrics: dict[str, Any], measurements: list[Measurement]) -> None:
    """Refuses a validation that was of other weights: what it measured is kept with the weights as well."""
    for measured in measurements:
        name, value = measured.mark
        own = metrics.get(name)
        if measured.split == "validation" and isinstance(own, float) and not math.isclose(own, value, abs_tol=1e-6):
            raise WeightsError(
                f"{folder}: the validation beside the weights is of others ({name} {value:.4g}, of these {own:.4g}); "
                "delete its files, or copy those that belong to the weights"
            )


def _copy_exports(folder: Path, out: Path) -> dict[str, ExportDescription]:
    """The exports by the names of their folders."""
    exports = {}
    for path in sorted(folder.glob(f"[!.]*/{DESCRIPTION_NAME}")):
        name = path.parent.name
        check_is_of(folder, path.parent)
        export = read_description(path.parent)
        shutil.copytree(path.parent, out / name)
        if export.accuracy is not None:
            export = replace(export, accuracy=replace(export.accuracy, data=Path(export.accuracy.data).name))
            write_description(out / name, export)
        exports[name] = export
    return exports


def _eval_results(name: str, dataset: str, measured: Measurement) -> str:
    """The figure that counts, as leaderboards of the Hub read it.

    References:
        https://huggingface.co/docs/hub/eval-results
    """
    score = measured.scores[0]
    entry = {
        "dataset": {"id": dataset, "task_id": "default"},
        "value": round(100 * score.value, 2),
        "source": {"url": f"{HfApi().endpoint}/{name}", "name": "Model card"},
        "notes": f"{score.name} in percent, {measured.split} data, {measured.amount}",
    }
    return yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)


def _refusal(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
    if status in (401, 403):
        return "the Hub does not let you write there; log in with `hf auth login`, or set HF_TOKEN to a token to write"
    return f"the Hub refuses it ({_one_line(error)})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
