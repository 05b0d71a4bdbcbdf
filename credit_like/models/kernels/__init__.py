"""Chains of tensor operations that on a CPU do little but move memory, each as one compiled loop.

Every one is a ``torch.library`` operator with a fake and a backward, so that ``torch.compile`` and ``torch.export`` see
it; ``evaluate`` is for evaluation and has no backward. Large inputs, but for those of pooling, are divided among
torch's threads in blocks that do not depend on the number of threads, so that no result does. ``compiled`` says whether
there is one for a tensor; elsewhere (a GPU, float16) the model takes torch's operations.
"""

from torch import Tensor, float32, float64

from credit_like.models.kernels.attention import attend
from credit_like.models.kernels.distances import own_distances
from credit_like.models.kernels.edges import GroupedEdges
from credit_like.models.kernels.layers import Evaluated, Layer, evaluate
from credit_like.models.kernels.norm import norm_elu
from credit_like.models.kernels.pool import pool

__all__ = ["Evaluated", "GroupedEdges", "Layer", "attend", "compiled", "evaluate", "norm_elu", "own_distances", "pool"]


def compiled(x: Tensor) -> bool:
    """Whether the operators of this package take ``x``: float32 or float64 on the CPU."""
    return x.device.type == "cpu" and x.dtype in (float32, float64)
