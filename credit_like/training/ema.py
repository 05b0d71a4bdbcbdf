"""EMATracker: an exponential moving average of a model's weights, exact for every dtype and safe on an exception."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from credit_like.training.sharding import part_of
from credit_like.training.wrapping import unwrapped


class EMATracker:
    """Averages a model's parameters (and float buffers) over optimizer steps.

    ``update`` does ``step += 1``, ``d = min(decay, (1 + step) / (10 + step))`` (the warm-up of TensorFlow's
    ``tf.train.ExponentialMovingAverage(num_updates=...)``) and ``shadow = d * shadow + (1 - d) * value``.

    Args:
        model: what is averaged; the shadow starts as a copy of it.
        decay: upper bound of ``d``, in [0, 1].
        device: where the shadow lives; None follows the model.
        buffers: ``"average"`` float buffers like parameters, or ``"copy"`` their latest value. Integer and bool
            buffers are always copied. Power-iteration vectors of spectral norm (``<name>_u``, ``<name>_v`` beside
            ``<name>_orig``, and ``_u``/``_v`` of the parametrized form) are left out: they are not weights, and
            their average is not unit.
        update_every: average on every n-th ``update`` only; the calls between only count.
        start_step: until so many updates the shadow is a plain copy of the model.

    ``shadow`` is an OrderedDict name -> Tensor, float32 at least (float64 stays). Tied weights stand in it once,
    under their first name. Not supported: a parameter that is added after construction (TypeError on update), a part of
    the model that changes its dtype or device alone (RuntimeError), and tensors of which one is a part of another.

    >>> net = nn.Linear(2, 1)
    >>> ema = EMATracker(net, decay=0.9)
    >>> ema.update(net)
    >>> with ema.averaged(net):
    ...     prediction = net(torch.zeros(1, 2))  # on averaged weights
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.9999,
        *,
        device: torch.device | str | None = None,
        buffers: Literal["average", "copy"] = "average",
        update_every: int = 1,
        start_step: int = 0,
    ) -> None:
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"EMA decay must lie in [0, 1]; got {decay}")
        if buffers not in ("average", "copy"):
            raise ValueError(f"buffers must be 'average' or 'copy'; got {buffers!r}")
        if update_every < 1 or start_step < 0:
            raise ValueError(f"update_every >= 1 and start_step >= 0; got {update_every} and {start_step}")
        self.decay, self.step = float(decay), 0
        self.update_every, self.start_step = update_every, start_step
        self._device = None if device is None else torch.device(device)
        self._buffers = buffers
        self._swapped = False
        self._kept_aside: dict[str, Tensor] = {}
        self.shadow: OrderedDict[str, Tensor] = OrderedDict()
        for name, _owner, _key, value in _tracked(model):
            full = _full_precision(value.dtype) if self._averages(value) else value.dtype
            self.shadow[name] = value.detach().to(self._device or value.device, full, copy=True)
        self._pair(model)

    def update(self, model: nn.Module) -> None:
        """Take ``model``'s present weights into the average. Raises RuntimeError while the weights are swapped."""
        if self._swapped:
            raise RuntimeError("EMATracker.update: the averaged weights are in the model now; swap them back first")
        if not self._paired():
            self._pair(model)
        self.step += 1
        if self.step > self.start_step and (self.step - self.start_step) % self.update_every:
            return
        d = min(self.decay, (1 + self.step) / (10 + self.step)) if self.step > self.start_step else 0.0
        with torch.no_grad():
            for shadows, values in self._groups:
                try:
                    torch._foreach_lerp_(shadows, _like(shadows, values), 1.0 - d)
                except RuntimeError as error:
                    if len({(value.dtype, value.device) for value in values}) == 1:
                        raise
                    raise RuntimeError(
                        "EMATracker.update: a part of the model has changed its dtype or device since the tracker was "
                        "made, and the average is lost; change it before, or the whole model"
                    ) from error
            for shadow, value in self._copied:
                shadow.copy_(value)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the shadow, in place. Twice is bit-exact.

        Where dtypes differ the full-precision shadow is kept aside while the model holds its rounded copy.
        """
        self._pair(model)
        exchanged: set[Any] = set()
        for name, value in self._by_name.items():
            if _place(value) in exchanged:
                continue  # another tensor over the same memory, such as one made of `.data`: it holds the same already
            exchanged.add(_place(value))
            shadow = self.shadow[name]
            if self._swapped and name in self._kept_aside:
                value.copy_(shadow)
                self.shadow[name] = self._kept_aside.pop(name)
            elif shadow.dtype != value.dtype:
                self._kept_aside[name] = shadow
                self.shadow[name] = value.to(shadow.device, copy=True)
                value.copy_(shadow)
            else:
                raw = value.to(shadow.device, copy=True)
                value.copy_(shadow)
                shadow.copy_(raw)
        self._swapped = not self._swapped
        self._pair(model)

    @contextmanager
    def averaged(self, model: nn.Module) -> Iterator[None]:
        """Inside, ``model`` holds the averaged weights; afterwards, also on an exception, its own again.

        Does nothing before the first update. Raises RuntimeError when entered twice.
        """
        if self._swapped:
            raise RuntimeError("EMATracker.averaged does not nest: the averaged weights are in the model already")
        if self.step == 0:
            yield
            return
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def shadow_buffers(self, model: nn.Module) -> list[Tensor]:
        """The shadows of what is no parameter: statistics that each of several processes has seen otherwise."""
        return [self.shadow[n] for n, _owner, _key, value in _tracked(model) if not isinstance(value, nn.Parameter)]

    @property
    def swapped(self) -> bool:
        """Whether the averaged weights are in the model at this moment."""
        return self._swapped

    def state_dict(self) -> dict[str, Any]:
        """``{"shadow", "decay", "step"}``; owns its tensors. Raises RuntimeError while the weights are swapped."""
        if self._swapped:
            raise RuntimeError("EMATracker.state_dict: the averaged weights are in the model now; swap them back first")
        shadow = OrderedDict((name, tensor.clone()) for name, tensor in self.shadow.items())
        return {"shadow": shadow, "decay": self.decay, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take decay, step and a copy of the shadow from ``state``.

        Raises ValueError when the names or shapes are not those of the model that this tracker was made for.
        """
        if self._swapped:
            raise RuntimeError("EMATracker.load_state_dict: swap the averaged weights back first")
        given: Mapping[str, Tensor] = state["shadow"]
        if given.keys() != self.shadow.keys():
            missing, extra = sorted(self.shadow.keys() - given.keys()), sorted(given.keys() - self.shadow.keys())
            raise ValueError(f"EMA state is of another model: missing {missing[:5]}, unexpected {extra[:5]}")
        for name, own in self.shadow.items():
            if given[name].shape != own.shape:
                raise ValueError(f"EMA state of {name!r} has shape {tuple(given[name].shape)}; need {tuple(own.shape)}")
        with torch.no_grad():
            for name, own in self.shadow.items():
                own.copy_(part_of(given[name], own))
        self.decay, self.step = float(state["decay"]), int(state["step"])

    def _averages(self, value: Tensor) -> bool:
        inexact = value.is_floating_point() or value.is_complex()
        return inexact and (self._buffers == "average" or isinstance(value, nn.Parameter))

    def _paired(self) -> bool:
        """Whether the pairs still stand: ``.to()`` may replace a tensor, or what lies behind it."""
        for owner, key, value in self._watched:  # a loop, since this is what an update of small weights waits for
            if owner.get(key) is not value:
                return False
        for first, device, dtype in self._kinds:  # noqa: SIM110
            if first.dtype is not dtype or first.device != device:
                return False
        return True

    def _pair(self, model: nn.Module) -> None:
        """Pair shadow and model tensors again; one group a (device, dtype, whole or sharded) for the foreach call.

        The model's own tensors are kept, and not their ``detach()``, which would stay behind when ``.data`` changes.
        """
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        self._watched: list[tuple[dict[str, Any], str, Tensor]] = []
        self._by_name: dict[str, Tensor] = {}
        self._copied: list[tuple[Tensor, Tensor]] = []
        for name, owner, key, value in _tracked(model):
            if name not in self.shadow:
                raise TypeError(f"EMATracker: {name!r} was not in the model when the tracker was made")
            if self._device is None and self.shadow[name].device != value.device:
                self.shadow[name] = self.shadow[name].to(value.device)
            shadow = self.shadow[name]
            self._watched.append((owner, key, value))
            self._by_name[name] = value
            if not self._averages(value):
                self._copied.append((shadow, value))
            else:
                shadows, values = groups.setdefault((value.device, value.dtype, shadow.dtype, type(shadow)), ([], []))
                shadows.append(shadow)
                values.append(value)
        self._groups = list(groups.values())
        self._kinds = [(values[0], values[0].device, values[0].dtype) for _, values in self._groups]
        if len(self._by_name) != len(self.shadow):
            gone = sorted(self.shadow.keys() - self._by_name.keys())
            raise TypeError(f"EMATracker: {gone[:5]} are no longer in the model")


@torch.no_grad()
def put_into_model(shadow: Mapping[str, Tensor], model: nn.Module) -> None:
    """Copy averaged weights into ``model`` for good, rounded to its dtypes; tied weights through their one tensor."""
    for name, _owner, _key, value in _tracked(model):
        value.copy_(part_of(shadow[name], value))


def _like(shadows: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """``values`` on the device and in the dtype of ``shadows``; themselves where they are so already."""
    if values[0].dtype is shadows[0].dtype and values[0].device == shadows[0].device:
        return values
    return [value.to(shadow.device, shadow.dtype) for shadow, value in zip(shadows, values, strict=True)]


def _place(value: Tensor) -> Any:
    """Equal for two plain tensors that are one memory, seen alike."""
    if type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided and value.data_ptr():
        return value.device, value.data_ptr(), value.dtype, value.shape, value.stride()
    return id(value)


def _full_precision(dtype: torch.dtype) -> torch.dtype:
    least = torch.complex64 if dtype.is_complex else torch.float32
    return dtype if dtype.itemsize > least.itemsize else least


def _tracked(model: nn.Module) -> Iterator[tuple[str, dict[str, Any], str, Tensor]]:
    """Every tensor of the state dict that is averaged or copied, tied ones once: (name, owner dict, key, tensor)."""
    seen: set[int] = set()
    for prefix, module in unwrapped(model).named_modules():
        for owner in (module._parameters, module._buffers):
            for key, value in owner.items():
                if value is None or id(value) in seen or key in module._non_persistent_buffers_set:
                    continue
                if owner is module._buffers and _is_power_iteration_vector(module, key):
                    continue
                seen.add(id(value))
                yield f"{prefix}.{key}" if prefix else key, owner, key, value


def _is_power_iteration_vector(module: nn.Module, key: str) -> bool:
    if key in ("_u", "_v"):
        return type(module).__name__ == "_SpectralNorm"
    return key.endswith(("_u", "_v")) and f"{key[:-2]}_orig" in module._parameters
