"""What all verbs share: how a run ends (message and exit code), and the parser pieces for CONF and overrides."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

EXIT_DONE, EXIT_FAILURE, EXIT_USAGE, EXIT_STOPPED = 0, 1, 2, 75  # 75 is EX_TEMPFAIL of sysexits.h: run it again

#: Seconds that a process waits before it ends for what another says: torchrun ends all others when the first one ends.
_FOR_THE_SPEAKER = 3.0

Main = Callable[[list[str]], int | None]


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Run ``main(argv)`` and turn every ending into one clear message on stderr and an exit code.

    0 done, 1 failure, 2 wrong usage or configuration, 75 stopped (Ctrl-C) and resumable. ``argv`` is that of the
    process by default. ``--debug`` anywhere in it is taken out, and shows the traceback of whatever went wrong.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if _rank() != 0:  # one of several processes that torchrun started: the first speaks for all
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):  # in a file or a pipe, too, lines come when they are said
        sys.stdout.reconfigure(line_buffering=True)
    try:
        code = main([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()  # so that a closed pipe is met here and not at the interpreter's exit
    except BaseException as error:  # noqa: BLE001 - every ending gets its message and code here
        if debug and not isinstance(error, SystemExit):
            traceback.print_exc()
        _let_go_of_stdout()
        return _ending(error)
    return EXIT_DONE if code is None else code


def _ending(error: BaseException) -> int:
    if isinstance(error, SystemExit):  # argparse: 0 after --help, 2 for wrong usage, its message already written
        if isinstance(error.code, str):
            _say(error.code)
            return EXIT_FAILURE
        return error.code or EXIT_DONE
    from credit_like.config import UserError  # not above, so that `--help` does not wait for pydantic

    if isinstance(error, UserError):
        if not _said_elsewhere(error):
            _say(f"error: {error}")
        elif _rank() != 0:
            time.sleep(_FOR_THE_SPEAKER)
        return error.exit_code
    if isinstance(error, BrokenPipeError):  # `credit-like config list | head -1`: nobody reads on, which is no error
        return EXIT_FAILURE
    if isinstance(error, OSError) and error.strerror:
        _say(f"error: {error.strerror}: {error.filename}" if error.filename else f"error: {error.strerror}")
        return EXIT_FAILURE
    if isinstance(error, Exception):
        _say(f"internal error: {type(error).__name__}: {error}; run again with --debug for the traceback")
        return EXIT_FAILURE
    if _rank() == 0:
        _say(f"stopped: {error}" if str(error) else "stopped")  # KeyboardInterrupt, or the engine's own stop
    return EXIT_STOPPED


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _said_elsewhere(error: BaseException) -> bool:
    """Whether another process of the run says this: what it failed of first, or a configuration that all have read."""
    from credit_like.config import ConfigError

    return getattr(error, "said_elsewhere", False) or (_rank() != 0 and isinstance(error, ConfigError))


def _let_go_of_stdout() -> None:
    """What is still buffered for a closed pipe or a full disk must not fail a second time at the interpreter's exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def parser(verb: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of one verb; it knows ``--help`` and ``--debug``, and never guesses abbreviated options."""
    made = argparse.ArgumentParser(
        prog=f"credit-like {verb}",
        description=description,
        epilog=epilog or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")  # run() takes it out
    return made


def add_conf(made: argparse.ArgumentParser) -> None:
    """Give a verb ``CONF [key=value ...]``, with ``-c CONF`` as another way to name the configuration."""
    made.add_argument("-c", "--config", metavar="CONF", help="the configuration, where it is not the first word")
    made.add_argument(
        "words",
        nargs="*",
        metavar="CONF key=value",
        help="the configuration (a YAML file, or a name from `credit-like config list`), then settings to change, such "
        "as trainer.epochs=20",
    )


def parse_conf(made: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, str, list[str]]:
    """Parse a verb made with :func:`add_conf` -> all options, the configuration, its overrides.

    Options and overrides may stand in any order. No configuration is wrong usage (exit code 2), and one that is not
    there, or no YAML, a ConfigError.
    """
    options = made.parse_intermixed_args(argv)
    conf, overrides = conf_of(options)
    if conf is None:
        made.error("name a configuration: a YAML file, or one of `credit-like config list`")
    from credit_like.config import read_config  # not above, so that `--help` does not wait for pydantic

    read_config(conf)  # a name that there is not, or no YAML, is refused before torch is imported
    for word in overrides:
        if "=" not in word and ("/" in word or Path(word).exists()):
            made.error(f"{word} is no key=value; if your logs are there, say data.path={word}")
    return options, conf, overrides


def conf_of(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The configuration (None where none is named) and the overrides among parsed options."""
    words: list[str] = options.words
    if options.config is not None:
        return options.config, words
    if not words or "=" in words[0]:
        return None, words
    return words[0], words[1:]
