"""credit-like prepare CONF [key=value ...]: logs -> a graph store, its splits and their certificate."""

from __future__ import annotations

import sys

from applications._cli import add_conf, parse_conf, parser, run
from applications._data import certify, fit_inputs, load_data
from applications._job import load_job
from applications._run import CERTIFICATE, to_json, write_text
from applications._summary import data_summary


def main(argv: list[str]) -> None:
    made = parser("prepare", "Read the logs, plan the splits, build the graph store, and show what is in it.")
    add_conf(made)
    made.add_argument("--trainer", metavar="module:Class", help="as for train")
    options, source, overrides = parse_conf(made, argv)
    job, _ = load_job(source, overrides, options.trainer)
    data = load_data(job.data)
    certificate = certify(data, *fit_inputs(data, job.data))
    path = data.store.folder.with_name(f"{data.store.folder.name}.{CERTIFICATE}")
    write_text(path, to_json(certificate))
    print(data_summary(data))
    print(f"store: {data.store.folder}\ncertificate: {path}")


if __name__ == "__main__":
    sys.exit(run(main))
