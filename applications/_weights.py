"""The deployed weights as safetensors, for whoever loads a detector without this program."""

from __future__ import annotations

from importlib.metadata import version

from safetensors.torch import save_model
from torch import nn

from applications._run import BEST, WEIGHTS, Run
from credit_like.config.files import replacing
from credit_like.training.checkpoint import file_digest


def write_weights(run: Run, model: nn.Module, *, averaged: bool) -> dict[str, str]:
    """Write the whole state of ``model``, which holds the run's validated weights, to ``model.safetensors``.

    Returns what stands in the file's metadata: the checkpoint's SHA-256, ``weights`` (averaged or raw), the trainer's
    type and the certificate's digest. ``safetensors.torch.load_model`` takes it back bit for bit, tied weights too.
    Raises UserError when the disk refuses.
    """
    metadata = {
        "format": "pt",
        "checkpoint": BEST,
        "checkpoint_sha256": file_digest(run.folder / BEST),
        "weights": "averaged" if averaged else "raw",
        "trainer": run.job.trainer.type,
        "certificate_digest": str(run.certificate["digest"]),
        "credit_like": version("credit-like"),
    }
    with replacing(run.folder / WEIGHTS) as temporary:
        temporary.touch()  # with the rights that any new file gets; safetensors makes its own for the owner alone
        rights = temporary.stat().st_mode
        save_model(model, str(temporary), metadata=dict(metadata))
        temporary.chmod(rights)
    return metadata
