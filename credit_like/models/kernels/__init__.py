"""Chains of tensor operations that on a CPU do little but move memory, each as one compiled loop.

Every one is a ``torch.library`` operator with a fake and a backward, so that ``torch.compile`` and ``torch.export`` see
it; ``gatv2_norm_elu`` is for evaluation and has no backward. Large inputs, but for those of pooling, are divided among
torch's threads in blocks that do not depend on the number of threads, so that no result does. ``compiled`` says whether
there is one for a tensor; elsewhere (a GPU, float16) the model takes torch's operations.
"""

from torch import Tensor, float32, float64

from credit_like.models.kernels.attention import attend
from credit_like.models.kernels.edges import GroupedEdges
from credit_like.models.kernels.layer import gatv2_norm_elu
from credit_like.models.kernels.norm import norm_elu
from credit_like.models.kernels.pool import pool

__all__ = ["GroupedEdges", "attend", "compiled", "gatv2_norm_elu", "norm_elu", "pool"]


def compiled(x: Tensor) -> bool:
    """Whether the operators of this package take ``x``: float32 or float64 on the CPU."""
    return x.device.type == "cpu" and x.dtype in (float32, float64)
