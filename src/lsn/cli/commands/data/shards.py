"""`lsn data shard`: many small videos in few files."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from lsn.cli.ui.console import output
from lsn.cli.ui.progress import counting_progress, duration
from lsn.errors import ConfigError


def shard(
    *manifests: str,
    out: Path,
    shard_mb: int = 256,
    seed: int = 0,
    root: str | None = None,
    labels: str | None = None,
    group_column: str | None = None,
) -> None:
    """Pack the videos of some manifests into tar files, and write manifests of them.

    They are read like any others, also from a web server or object storage: lsn train data.train=shards/train.csv. The
    tars are those of WebDataset. A call that was stopped can be repeated: shards that are there are kept.

    Parameters
    ----------
    manifests
        Manifests or folders of class folders, of videos or of frames.
    out
        Where the shards and their manifests go.
    shard_mb
        Size of a shard, in MiB.
    seed
        Decides which videos share a shard.
    root
        Folder that paths start from; by default each manifest's own.
    labels
        File with one label per line, in order; a TSN list needs it.
    group_column
        Column that names the source of a clip; it is kept as "group".
    """
    if not manifests:
        raise ConfigError("lsn data shard takes one manifest or more, for example train.csv val.csv")
    from lsn.data import read_manifest
    from lsn.data.shards.write import write_shards

    tables = [read_manifest(path, root=root, labels=labels, group_column=group_column) for path in manifests]
    names = tables[0].labels if labels else tuple(sorted({name for table in tables for name in table.labels}))
    tables = [replace(table, labels=names) for table in tables]
    start = time.monotonic()
    with counting_progress("packing videos") as progress:
        done = write_shards(tables, out, max_bytes=shard_mb << 20, seed=seed, progress=progress)
    found = f", {done.num_found} of which were there already" if done.num_found else ""
    console = output()
    console.print(
        f"{done.num_videos} videos in {done.num_shards} shards{found}: {done.num_bytes / 1e6:,.0f} MB, in "
        f"{duration(time.monotonic() - start)}."
    )
    console.print(f"Manifests: {', '.join(map(str, done.manifests))}")
