"""Names from a DBC file: ids of both lengths, values with units, and what cannot be named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from credit_like.can import DbcNames, id_text
from credit_like.config import UserError

DBC = """VERSION ""
BU_: ECU
BO_ 256 Engine: 8 ECU
 SG_ Speed : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
 SG_ State : 16|8@1+ (1,0) [0|3] "" ECU
BO_ 2147483904 Other: 8 ECU
BO_ 512 Modes: 8 ECU
 SG_ Mode M : 0|8@1+ (1,0) [0|0] "" ECU
 SG_ A m0 : 8|8@1+ (1,0) [0|0] "" ECU
VAL_ 256 State 1 "on" 0 "off" ;
"""


@pytest.fixture
def names(tmp_path: Path) -> DbcNames:
    path = tmp_path / "car.dbc"
    path.write_text(DBC)
    return DbcNames.read(path)


def test_ids_of_both_lengths_stay_apart(names: DbcNames) -> None:
    assert names.message(256) == "Engine"
    assert names.message(1 << 32 | 256) == "Other"
    assert names.message(0x1FF) == ""
    assert (id_text(256), id_text(1 << 32 | 256)) == ("0x100", "0x00000100")


def test_signals_have_values_units_and_the_words_of_the_file(names: DbcNames) -> None:
    assert names.signals(256, bytes([0x10, 0x27, 1])) == {"Speed": "100 km/h", "State": "on"}


def test_what_the_file_does_not_describe_has_no_signals(names: DbcNames) -> None:
    assert names.signals(0x1FF, b"\1") == {}
    assert names.signals(512, bytes([9, 0])) == {}  # a multiplexer value that has no signals
    assert DbcNames().signals(256, b"\1") == {}
    assert names.signals(256, b"\1") == {}  # shorter than any signal


@pytest.mark.parametrize("content", ["this is no DBC file", "BO_ 256 Engine"])
def test_a_file_that_is_no_dbc_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "car.dbc"
    path.write_text(content)
    with pytest.raises(UserError, match=r"^--dbc .*car.dbc: this is no DBC file that can be read \("):
        DbcNames.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        DbcNames.read(tmp_path / "none.dbc")


def test_without_cantools_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "car.dbc"
    path.write_text(DBC)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need the package cantools; install the extra: pip install .*\[dbc\]"):
        DbcNames.read(path)
