"""The engine stands alone: the README's trainer works where the rest of the framework can't be imported.

The doors themselves are import contracts in ``setup.cfg``, checked by ``make lint``.
"""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CLOSED = """
import sys

class Closed:
    def find_spec(self, name, path=None, target=None):
        rooms = ("can", "graphs", "models", "evaluation")
        if name.startswith(tuple(f"credit_like.{room}" for room in rooms)) or name in ("trainers", "applications"):
            raise ImportError(f"{name} is closed")

sys.meta_path.insert(0, Closed())
"""


def test_the_readmes_trainer_learns_with_every_other_room_closed(tmp_path: Path):
    examples = doctest.DocTestParser().get_examples((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [example.source for example in examples]
    assert any("class Regression(BaseTrainer)" in line for line in lines)
    script = CLOSED + "".join(lines) + "print(best['valid_loss'] < 1e-3, 'credit_like.training' in sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True True\n", done.stderr
    assert (tmp_path / "runs" / "regression" / "best_checkpoint.pt").is_file()
