"""credit-like prepare CONF [--shard I/N | --merge] [key=value ...]: logs -> a graph store, its splits, certificate."""

from __future__ import annotations

import re
import sys

from applications import _arguments
from applications._cli import run
from applications._data import certify, fit_inputs, load_data, read_and_plan, store_folder
from applications._job import DataSettings, load_job
from applications._run import CERTIFICATE, to_json, write_text
from applications._summary import data_summary
from credit_like.config import ConfigError
from credit_like.graphs import GraphStore, build_shard, merge_shards


def main(argv: list[str]) -> None:
    options, source, overrides = _arguments.prepare(argv)
    job, _ = load_job(source, overrides, options.trainer)
    if options.shard is not None:
        print(f"shard: {_build_shard(job.data, options.shard)}")
    elif options.merge:
        store = merge_shards(store_folder(job.data))
        print(f"{len(store):,} windows\nstore: {store.folder}")
    else:
        prepare(job.data)


def prepare(settings: DataSettings) -> GraphStore:
    """Build the store, write the certificate beside it, and print what is in it."""
    data = load_data(settings)
    certificate = certify(data, *fit_inputs(data, settings))
    path = data.store.folder.with_name(f"{data.store.folder.name}.{CERTIFICATE}")
    write_text(path, to_json(certificate))
    print(data_summary(data))
    print(f"store: {data.store.folder}\ncertificate: {path}")
    return data.store


def _build_shard(settings: DataSettings, which: str) -> str:
    found = re.fullmatch(r"(\d+)/(\d+)", which)
    shard, shards = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= shard <= shards:
        raise ConfigError(f"--shard takes I/N with I from 1 to N, for example 1/8 to 8/8; got {which!r}")
    captures, _, plan = read_and_plan(settings)
    return str(build_shard(store_folder(settings), captures, plan, settings.window, shard, shards))


if __name__ == "__main__":
    sys.exit(run(main))
