"""A file that the user names: what a verb reads is never replaced; what is no result of its own only with --force."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from applications.__main__ import VERBS, main
from tests.contracts.test_exit_codes import options_of

#: Verb -> a command that reads ``logs/drive.csv`` or the run ``run``; without its ``-o FILE``.
COMMANDS = {
    "predict": ["run", "logs/drive.csv"],
    "explain": ["run", "data.path=logs", "--capture", "c", "--time", "1", "--dbc", "names.dbc"],
    "compare": ["run", "other"],
    "ingest": ["logs/drive.csv"],
    "simulate": [],
    "inject": ["logs/drive.csv", "--attack", "dos", "--format", "candump"],
}
WHOLE_FOLDER = {"predict": ["run", "logs"], "ingest": ["logs"]}

#: (verb, command, a file that it reads).
READS = [
    *(("predict", COMMANDS["predict"], file) for file in ("logs/drive.csv", "run/scores.parquet", "run/metrics.json")),
    ("predict", WHOLE_FOLDER["predict"], "logs/drive.csv"),
    *(
        ("explain", COMMANDS["explain"], file)
        for file in ("logs/drive.csv", "run/explanations.json", "run/config.yml", "names.dbc")
    ),
    *(("compare", COMMANDS["compare"], file) for file in ("run/report.html", "other/scores.parquet")),
    ("ingest", COMMANDS["ingest"], "logs/drive.csv"),
    ("ingest", WHOLE_FOLDER["ingest"], "logs/drive.csv"),
    *(
        ("inject", COMMANDS["inject"], file)
        for file in ("logs/drive.csv", "logs/drive.labels", "logs/injection_metadata.json")
    ),
]


@pytest.fixture(autouse=True)
def _inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gat_config: str) -> None:
    """Two runs and a log, of which a command that is refused reads no more than the configurations."""
    monkeypatch.chdir(tmp_path)
    for folder in ("run", "other"):
        Path(folder).mkdir()
        for name in ("certificate.json", "metrics.json", "scores.parquet", "report.html"):
            Path(folder, name).write_text("{}")
        Path(folder, "explanations.json").write_text('{"schema_version": 1, "explanations": []}')
        Path(folder, "config.yml").write_text(gat_config)
    Path("logs").mkdir()
    Path("elsewhere").mkdir()
    Path("names.dbc").write_text('VERSION ""\n')
    for name in ("drive.csv", "drive.labels", "injection_metadata.json"):
        Path("logs", name).write_text(f"the only {name}")


def content() -> dict[str, str | bytes]:
    return {str(p): os.readlink(p) if p.is_symlink() else p.read_bytes() for p in Path().rglob("*") if not p.is_dir()}


def refused(command: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    before = content()
    assert main([*command]) == 1
    assert content() == before
    return capsys.readouterr().err


@pytest.mark.parametrize("by", ["its name", "another way to it", "symlink", "hard link"])
@pytest.mark.parametrize(("verb", "command", "read"), READS)
def test_what_a_command_reads_is_never_replaced(
    verb: str, command: list[str], read: str, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = {"predict": ".csv", "ingest": ".parquet"}.get(verb, Path(read).suffix)  # what the verb can write
    if by in ("its name", "another way to it") and suffix != Path(read).suffix:
        renamed = Path(read).with_suffix(suffix)
        Path(read).rename(renamed)
        command, read = [word.replace(read, str(renamed)) for word in command], str(renamed)
    out = {"its name": read, "another way to it": f"elsewhere/../{read}"}.get(by, f"elsewhere/link{suffix}")
    if by == "symlink":
        Path(out).symlink_to(Path(read).absolute())
    elif by == "hard link":
        os.link(read, out)
    said = refused([verb, *command, "-o", out, "--force"], capsys)
    assert said.startswith(f"error: {out} is ")
    assert said.endswith("which this command reads; name another file\n")


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize(
    "there", ["", "(1.0) can0 123#00\n", "\x89PNG\r\n", "{}", '["a"]', "PAR1", "<title>mine</title>"]
)
def test_what_is_no_result_of_the_verb_is_kept(verb: str, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in {"predict": ["x.csv", "x.parquet"], "ingest": ["x.parquet"]}.get(verb, ["x.csv"]):
        Path(name).write_bytes(there.encode("latin-1"))
        said = refused([verb, *COMMANDS[verb], "-o", name], capsys)
        assert said == f"error: {name} is there already; name another file, or replace it with --force\n"


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_folder_and_a_folder_that_is_not_there_are_no_files(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    suffix = {"ingest": ".parquet"}.get(verb, ".csv")
    Path(f"folder{suffix}").mkdir()
    said = refused([verb, *COMMANDS[verb], "-o", f"folder{suffix}", "--force"], capsys)
    assert said == f"error: folder{suffix} is a folder; name a file in it\n"
    said = refused([verb, *COMMANDS[verb], "-o", f"no/x{suffix}"], capsys)
    assert said == f"error: there is no folder no to write x{suffix} in; make it first\n"


def test_every_verb_that_writes_a_file_is_held_to_this(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = [verb for verb in VERBS if any("-o" in action.option_strings for action in options_of(verb, monkeypatch))]
    assert sorted(writes) == sorted(COMMANDS)
