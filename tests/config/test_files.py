"""replacing: whole files or the old ones, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from credit_like.config import UserError
from credit_like.config.files import replacing


def test_what_was_written_takes_the_place_of_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path, "a rename across file systems is a copy"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["figures.csv"]


@pytest.mark.parametrize("error", [ValueError("a fault in the data"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["figures.csv"]


def test_what_the_file_system_refuses_is_a_user_error(tmp_path: Path) -> None:
    message = r"no/figures\.csv cannot be written: No such file or directory\. Check that its folder exists"
    with pytest.raises(UserError, match=message), replacing(tmp_path / "no" / "figures.csv") as temporary:
        temporary.write_text("new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder cannot be written"), replacing(tmp_path / "folder") as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == ["folder"]
