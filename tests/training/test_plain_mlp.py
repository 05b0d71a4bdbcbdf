"""The engine is anybody's: a short subclass on an MLP trains with everything about cars blocked from import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("credit_like.can", "credit_like.graphs", "credit_like.models", "torch_geometric")):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())

import torch
from torch import nn
from credit_like import BaseTrainer

class MLPTrainer(BaseTrainer):
    def train_one_epoch(self, epoch, trainloader, optimizer, criterion, scaler, scheduler, metrics):
        for x, y in self.batches(trainloader):
            loss = criterion(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch, valid_loader, criterion, metrics):
        for x, y in self.batches(valid_loader, "valid"):
            logits = self.model(x)
            self.record("loss", criterion(logits, y))
            self.record("accuracy", (logits.argmax(1) == y).float().mean())

torch.manual_seed(0)
x = torch.randn(256, 2)
y = (x[:, 0] * x[:, 1] > 0).long()
data = list(zip(x.split(32), y.split(32)))
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
conf = {"save_loc": sys.argv[1], "trainer": {"epochs": 30, "use_ema": True, "ema_decay": 0.9}}
trainer = MLPTrainer(model, 0, conf)
optimizer = torch.optim.Adam(trainer.model.parameters(), 0.02)
best = trainer.fit(conf, data[:6], data[6:], optimizer, nn.CrossEntropyLoss(), nn.CrossEntropyLoss())
assert best["valid_accuracy"] > 0.9, best
assert not [name for name in sys.modules if name.split(".")[:2] == ["credit_like", "can"]]
print(trainer.test({"held out": data[6:]}, ckpt_path="best"))
"""


def test_a_short_subclass_on_an_mlp(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    root = Path(__file__).parents[2]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr
    assert "held out/test_accuracy" in process.stdout
