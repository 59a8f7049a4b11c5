"""Turn annotations of your own into a manifest, check it, split it by source, and read batches from it.

    python examples/own_manifest.py

The annotations here are JSON with times inside longer videos. The manifest that is written is all that `lsn train`
needs: `lsn train default data.train=runs/example_own/train.csv data.group_column=person`.
"""

import csv
import json
from pathlib import Path

from toy import LABELS, toy_video

from lsn.config import EvaluationConfig, InputConfig
from lsn.data import ClipDataset, check_manifests, make_loader, raise_on_errors, read_manifest, split_manifest
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models import create_model


def write_annotations(folder: Path) -> Path:
    """Stands for what your annotation tool exports: for each video its events."""
    records = []
    for person in range(6):
        label = LABELS[person % 2]
        toy_video(folder / f"{person}.mp4", label, num_frames=48, seed=person)
        events = [{"what": label, "from": start, "to": start + 1} for start in (0, 1, 2)]
        records.append({"file": f"{person}.mp4", "person": f"p{person}", "events": events})
    (folder / "annotations.json").write_text(json.dumps(records))
    return folder / "annotations.json"


def main() -> None:
    folder = Path("runs/example_own")
    records = json.loads(write_annotations(folder).read_text())

    rows: list[tuple[object, ...]] = [("path", "label", "start_seconds", "end_seconds", "person")]
    for record in records:
        rows += [(record["file"], e["what"], e["from"], e["to"], record["person"]) for e in record["events"]]
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)

    manifest = read_manifest(folder / "train.csv", group_column="person")
    train, val = split_manifest(manifest, val_fraction=0.3, seed=0)  # nobody is in both
    raise_on_errors(check_manifests(train, val))
    print(f"{len(train)} clips to train on, {len(val)} to validate on, classes {', '.join(manifest.labels)}")

    model = create_model("lsn_test_resnet", num_classes=len(manifest.labels), num_frames=4)
    views = EvaluationProtocol.of(model, InputConfig(size=32, short_side=32), EvaluationConfig())
    for batch in make_loader(ClipDataset(val, views), indices=range(len(val)), batch_size=4, num_workers=0):
        print(f"views {tuple(batch.views_BVTCHW.shape)}, labels {batch.labels_B.tolist()}")


if __name__ == "__main__":
    main()
