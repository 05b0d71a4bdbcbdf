"""What the line of an epoch shows, and how it counts."""

from __future__ import annotations

from credit_like.training.progress import described, epoch_line


def test_a_person_counts_epochs_from_1():
    row = {"epoch": 0.0, "train_loss": 2.0, "lr": 0.5}
    assert epoch_line(row, 3, True, 1.25) == "epoch 1/3  train_loss 2  lr 0.5  (1.2 s)  best so far"
    assert described("train", 0, 3, {"train_loss": 2.0}, 0.5) == "train 1/3 loss 2 lr 5.00e-01"


def test_a_part_that_is_the_whole_is_not_shown_beside_it():
    row = {
        "epoch": 1.0, "train_loss": 2.0, "train_dgi_loss": 2.0, "valid_loss": 2.0, "valid_dgi_loss": 1.5,
        "valid_recall": 1.0, "valid_auroc": 1.0, "lr": 0.5,
    }  # fmt: skip
    shown = "train_loss 2  valid_loss 2  valid_dgi_loss 1.5  valid_recall 1  valid_auroc 1  lr 0.5"
    assert epoch_line(row, 3, False, 1.0) == f"epoch 2/3  {shown}  (1.0 s)"
    assert described("train", 1, 3, {"loss": 2.0, "dgi_loss": 2.0}, 0.5) == "train 2/3 loss 2 lr 5.00e-01"
