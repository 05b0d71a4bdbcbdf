"""credit-like config list | show CONF [key=value ...] | check CONF [key=value ...] | schema [CONF]"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from applications._cli import add_conf, conf_of, parser, run
from credit_like.config import dump_config, shipped_configs

_ACTIONS = """actions:
  list     the configurations that come with the project, by name
  show     the whole configuration as it would run: every default, every override
  check    say whether it is valid, and if not, everything that is wrong with it
  schema   its JSON schema: every key with type, default and meaning (without CONF: what all jobs share)"""


def main(argv: list[str]) -> None:
    """Print what was asked for on stdout; a configuration with problems is a ConfigError that lists them all."""
    made = parser("config", "Look at configurations; nothing is started.", _ACTIONS)
    made.add_argument("action", choices=("list", "show", "check", "schema"), help="see below")
    add_conf(made)
    made.add_argument("--trainer", metavar="module:Class", help="a trainer class of yours, in place of trainer.type")
    options = made.parse_intermixed_args(argv)
    conf, overrides = conf_of(options)
    if options.action == "list":
        _list()
        return
    if conf is None and options.action != "schema":
        made.error(f"{options.action} what? Name a YAML file, or one of `credit-like config list`")

    from applications._job import Job, job_schema, load_job  # imports torch, which `config list` does not wait for

    if conf is None:
        print(json.dumps(Job.model_json_schema(), indent=2))
        return
    job, trainer = load_job(conf, overrides, options.trainer)
    if options.action == "show":
        print(dump_config(job), end="")
    elif options.action == "check":
        print(f"{conf} is valid: a job for {trainer.__name__}")
    else:
        print(json.dumps(job_schema(trainer).model_json_schema(), indent=2))


def _list() -> None:
    shipped = shipped_configs()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        print(f"{name:<{width}}  {_summary(path)}")


def _summary(path: Path) -> str:
    """The first line of a YAML, which by our custom is a comment that says what it is for."""
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("#").strip()


if __name__ == "__main__":
    sys.exit(run(main))
