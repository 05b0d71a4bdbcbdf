"""credit-like VERB [arguments]: the console command; `python -m applications.VERB [arguments]` is the same."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches

from applications import _arguments
from applications._cli import EXIT_DONE, EXIT_USAGE, run

# A verb is the file of its name beside this one; its `main` is imported when it is called, torch and all.
VERBS = {
    "prepare": "logs -> a graph store, with its splits",
    "train": "a graph store -> a trained detector in a run folder",
    "tune": "a configuration with a search space -> the best of many trials",
    "evaluate": "a run folder -> scores and metrics on held-out captures",
    "predict": "a trained detector and new logs -> scores",
    "explain": "a window of a run -> the ids and transitions that carried its score",
    "report": "a run folder -> one self-contained HTML report",
    "compare": "finished runs -> side by side, with what chance explains",
    "verify": "a run folder and its raw logs -> which of its claims hold",
    "demo": "all of the above in minutes, on simulated or on your own logs",
    "inspect": "a log -> what is in it, and what is wrong with it",
    "ingest": "logs -> one Parquet file, which is read like them, only faster",
    "simulate": "a simulated drive -> a log",
    "inject": "a log -> the same log with an attack in it",
    "config": "list, show and check configurations",
}


def main(argv: list[str] | None = None) -> int:
    """The console command; returns the exit code (0 done, 1 failure, 2 wrong usage, 75 stopped and resumable)."""
    return run(_dispatch, argv)


def _dispatch(argv: list[str]) -> int | None:
    if not argv:
        print(_usage(), file=sys.stderr)
        return EXIT_USAGE
    verb, *rest = argv
    if verb in ("-h", "--help"):
        print(_usage())
        return EXIT_DONE
    if verb == "--version":
        from importlib.metadata import version

        print(f"credit-like {version('credit-like')}")
        return EXIT_DONE
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        print(f"error: there is no verb {verb!r}{hint}; verbs: {', '.join(VERBS)}", file=sys.stderr)
        return EXIT_USAGE
    parse = getattr(_arguments, verb, None)
    if parse is not None:  # help and wrong usage end here, before the verb imports torch
        parse(rest)
    code: int | None = importlib.import_module(f"applications.{verb}").main(rest)
    return code


def _usage() -> str:
    verbs = "\n".join(f"  {verb:<10}{meaning}" for verb, meaning in VERBS.items())
    return (
        "usage: credit-like VERB [CONF] [key=value ...]\n\n"
        f"Graph detectors for CAN buses.\n\nverbs:\n{verbs}\n\n"
        "`credit-like VERB --help` explains a verb. Exit codes: 0 done, 1 failure, 2 wrong usage or configuration,\n"
        "75 stopped and resumable. --debug shows the traceback of an error."
    )


if __name__ == "__main__":
    sys.exit(main())
