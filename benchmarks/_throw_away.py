"""An environment with packages that the project does not depend on, made with pip and gone afterwards."""

from __future__ import annotations

import site
import subprocess
import sysconfig
import tempfile
import venv
from pathlib import Path
from types import TracebackType


class ThrowAway:
    """A context: inside, ``python`` is an interpreter that finds ``wanted`` besides all that is installed here.

    Where they could not be had, ``why_not`` says so.
    """

    def __init__(self, *wanted: str) -> None:
        self.wanted = wanted
        self.why_not = ""

    def __enter__(self) -> ThrowAway:
        self._folder = tempfile.TemporaryDirectory(prefix="peers-")
        self.python = Path(self._folder.name) / "bin" / "python"
        names = {"base": self._folder.name, "platbase": self._folder.name}
        self.site = Path(sysconfig.get_path("purelib", "venv", names))
        try:
            venv.create(self._folder.name, with_pip=True)
            # What is installed here, torch above all, is lent to it and not downloaded again.
            lent = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
            (self.site / "lent.pth").write_text(lent)
            install = [str(self.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *self.wanted]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            self.why_not = said[-1] if said else type(error).__name__
        return self

    def lend(self) -> None:
        """Let this very process import ``wanted``; what it has already comes first."""
        site.addsitedir(str(self.site))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
