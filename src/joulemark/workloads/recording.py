"""What a net really executes: recorded from a real run, operator by operator, at a batch size.

Every operator that PyTorch dispatches while real inputs go through is looked up in one table. What the table does not
hold is reported with its share of all output elements, never skipped in silence. Dynamic nets are run with their rows
really leaving, so a layer that few rows reach is counted for few rows.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from joulemark.nets.header import Format
from joulemark.nets.layers.layer import CountRule, own_counts, own_free
from joulemark.nets.layers.masked import gathered
from joulemark.workloads.liveness import Liveness
from joulemark.workloads.pairs import convolution_pairs, product_pairs
from joulemark.workloads.workload import Operation, Workload

aten = torch.ops.aten

FREE = frozenset(
    # Views and bookkeeping: no arithmetic, no data moved that a runtime could not avoid.
    """view _unsafe_view reshape flatten t transpose permute unsqueeze squeeze expand slice select detach alias
    as_strided split chunk unbind clone copy_ _to_copy lift_fresh empty empty_like new_empty full full_like zeros
    zeros_like new_zeros new_full ones ones_like new_ones scalar_tensor contiguous dropout native_dropout
    index_select index index_put_ stack arange embedding gather scatter scatter_ masked_fill masked_fill_
    masked_select flip roll repeat repeat_interleave pixel_shuffle pixel_unshuffle channel_shuffle
    native_channel_shuffle im2col col2im unfold tril triu view_as narrow squeeze_ unsqueeze_ fill_ zero_ item
    _local_scalar_dense is_nonzero eye rand randn rand_like randn_like bernoulli bernoulli_ fill nonzero
    unsafe_split unsafe_chunk split_with_sizes view_as_real view_as_complex diagonal movedim swapaxes set_ resize_
    clone_ transpose_ t_ as_strided_""".split()  # noqa: SIM905
)
ELEMENTWISE = frozenset(
    """add add_ sub mul mul_ div relu relu_ threshold sigmoid tanh hardtanh hardtanh_ hardswish hardswish_ silu gelu
    clamp clamp_ clamp_min leaky_relu native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm
    native_layer_norm native_group_norm _softmax _log_softmax max_pool2d_with_indices max_pool1d max_pool2d
    avg_pool2d avg_pool1d avg_pool3d _adaptive_avg_pool2d adaptive_avg_pool1d mean sum amax max argmax topk sort
    where eq ne ge gt le lt logical_and logical_not bitwise_and bitwise_not round sign abs neg exp log sqrt rsqrt
    pow constant_pad_nd cat sub_ div_ neg_ pow_ exp_ sqrt_ rsqrt_ clamp_max clamp_max_ clamp_min_ sigmoid_ tanh_
    silu_ elu elu_ celu celu_ selu selu_ mish mish_ softplus hardsigmoid hardsigmoid_ leaky_relu_ _prelu_kernel
    log_sigmoid_forward glu rrelu_with_noise softshrink hardshrink threshold_ gelu_ erf erfc log1p log2 log10 exp2
    expm1 sin cos tan atan floor ceil trunc frac fmod remainder maximum minimum fmax fmin rsub reciprocal square
    logical_or logical_xor bitwise_or bitwise_xor isnan isinf isfinite argmin min median std var var_mean std_mean
    prod any all cumsum cumprod logsumexp linalg_vector_norm norm nan_to_num native_batch_norm_legit_no_training
    _native_batch_norm_legit native_layer_norm_ addcmul addcdiv lerp max_pool3d_with_indices _adaptive_avg_pool3d
    adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d fractional_max_pool2d reflection_pad1d
    reflection_pad2d replication_pad1d replication_pad2d replication_pad3d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa upsample_trilinear3d grid_sampler_2d grid_sampler_3d bucketize
    one_hot""".split()  # noqa: SIM905
)
POOLINGS = frozenset({"max_pool2d_with_indices", "max_pool2d", "avg_pool2d"})
NAMES = {
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"), "batch_norm"),
    **{f"{name}_": name for name in ("add", "relu", "hardtanh", "hardswish")},
    "max_pool2d_with_indices": "max_pool",
}


@dataclasses.dataclass
class _Tally:
    """Running sums of one operator of one layer in one shape."""

    shape: dict[str, Any]  # of one row, and what never changes with the rows
    weight_density: float = 1.0
    weight_bits: int = 32
    activation_bits: int = 32
    rows: int = 0
    calls: int = 0
    macs: int = 0
    elements: int = 0  # input activations seen
    nonzero: int = 0
    joint: float = 0.0  # MACs with both operands non-zero
    inside: float = 0.0  # MACs that do not read padding


def record(
    module: nn.Module,
    images: Tensor,
    *,
    batch_size: int = 1,
    formats: Mapping[str, Format] | None = None,
    whole: bool = False,
) -> Workload:
    """Run ``images`` (inputs, ...) through ``module`` in batches and return what was executed.

    A module with a ``run`` method (dynamic depth) is run by it and masked layers gather; with ``whole``, no row leaves
    and masked layers are computed dense. Layers have the bits of the format that they state; ``formats`` gives those of
    others by path; all else those of
    their numbers (32 of float32, 16 of half precision).

    >>> from joulemark.nets.net import Net
    >>> record(Net.new("lenet", (1, 28, 28), seed=0).module(), torch.zeros(1, 1, 28, 28)).macs_per_input
    2293000.0
    """
    recorder = _Recorder(module)
    stated = {path: getattr(layer, "form", None) for path, layer in module.named_modules()}
    forms = {path: form for path, form in stated.items() if isinstance(form, Format)} | dict(formats or {})
    call: Callable[[Tensor], Tensor] = module if whole else getattr(module, "run", module)
    with torch.no_grad(), nullcontext() if whole else gathered(module), recorder.paths(), _in_parts(), _uncompiled():
        for batch in images.split(batch_size):
            recorder.liveness.start(batch)
            with recorder:
                call(batch)
    return Workload(
        inputs=len(images),
        batch_size=batch_size,
        operations=tuple(_operation(key[0], key[1], tally, forms) for key, tally in recorder.tallies.items()),
        unknown=recorder.unknown_shares(),
        peak_activation_bytes=recorder.liveness.peak_bytes(),
    )


@contextmanager
def _in_parts() -> Iterator[None]:
    """Inside the block, multi-head attention runs as the products that it is made of, not as one operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _uncompiled() -> AbstractContextManager[Any]:
    """Inside the block, what torch.compile was asked for runs operator by operator."""
    compiler = "torch._dynamo" in sys.modules  # which is slow to import, and nothing is compiled without it
    return torch.compiler.set_stance("force_eager") if compiler else nullcontext()


class _Recorder(TorchDispatchMode):
    """Tallies every dispatched operator under the innermost module that is running."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.products = {**PRODUCTS, **own_counts(module)}
        self.own_free = own_free(module)
        self.liveness = Liveness(module)
        self.weights = {p.untyped_storage().data_ptr(): name for name, p in module.named_parameters() if p.numel()}
        self.tallies: dict[tuple[Any, ...], _Tally] = {}
        self.unknown: dict[str, int] = defaultdict(int)
        self.produced = 0
        self.path: list[str] = [""]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks this: to skip its compiler it would first import all of it, which takes a second."""
        return False

    @contextmanager
    def paths(self) -> Iterator[None]:
        """Keep ``self.path`` at the innermost running module while the block runs."""
        handles = []
        for name, child in self.module.named_modules():
            if name:
                handles.append(child.register_forward_pre_hook(lambda *_, name=name: self.path.append(name)))
                handles.append(child.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self.path.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        theirs = func.namespace != "aten"  # an operator of somebody else's may have the name of one of PyTorch's
        free = name in self.own_free if theirs else name in FREE or (name == "cat" and args[1:] in ((), (0,)))
        free = free and func not in self.products
        if func not in self.products and not free and (theirs or name not in ELEMENTWISE):
            with self:  # a composite operator is counted by what it is made of
                result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
        result = func(*args, **kwargs)
        self.liveness.step(name, (args, kwargs), result)
        if free:
            return result
        output = result[0] if isinstance(result, tuple | list) else result
        if not isinstance(output, Tensor):
            return result
        self.produced += output.numel()
        if func in self.products:
            self.products[func](self, args, output)
        elif not theirs and name in ELEMENTWISE:
            source = next((value for value in args if isinstance(value, Tensor)), output)
            self.tally(NAMES.get(name, name), source, output, **(_window(args) if name in POOLINGS else {}))
        else:
            self.unknown[str(func)] += output.numel()
        return result

    def tally(
        self, operator: str, source: Tensor, output: Tensor, weight: Tensor | None = None, **geometry: Any
    ) -> _Tally:
        """The tally of this layer, operator, weight and shape, with one more call booked."""
        shape = {"input_shape": tuple(source.shape[1:]), "output_shape": tuple(output.shape[1:]), **geometry}
        if weight is not None:
            shape["weight"] = self.weights.get(weight.untyped_storage().data_ptr())
        bits = [32 if tensor is None else _bits(tensor) for tensor in (weight, source)]
        key = (self.path[-1], operator, tuple(shape.items()), *bits)
        if key not in self.tallies:
            self.tallies[key] = _Tally(shape, 1.0 if weight is None else _density(weight), *bits)
        tally = self.tallies[key]
        tally.rows += output.shape[0] if output.dim() else 1
        tally.calls += 1
        tally.elements += source.numel()
        tally.nonzero += int(source.count_nonzero())
        return tally

    def unknown_shares(self) -> dict[str, float]:
        """Operators no rule describes, with their share of all output elements."""
        return {name: count / self.produced for name, count in sorted(self.unknown.items())}


def _convolution(recorder: _Recorder, args: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, stride, padding, dilation, transposed, _, groups = args
    tally = recorder.tally(
        "conv_transpose" if transposed else "conv",
        x,
        output,
        weight,
        weight_shape=tuple(weight.shape),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
    )
    where = x if transposed else output  # each of these elements takes one whole filter (slice)
    tally.macs += where.numel() * prod(weight.shape[1:])
    if not transposed:
        inside, joint = convolution_pairs(
            x, weight, output.shape[2:], stride=stride, before=padding, dilation=dilation, groups=groups
        )
        tally.inside += inside
        tally.joint += joint


def _product(recorder: _Recorder, x: Tensor, weight: Tensor, output: Tensor) -> None:
    """``x`` (rows, in) times ``weight`` (in, out)."""
    tally = recorder.tally("linear", x, output, weight, weight_shape=(weight.shape[1], weight.shape[0]))
    macs = x.shape[0] * weight.shape[0] * weight.shape[1]
    tally.macs += macs
    tally.inside += macs
    tally.joint += product_pairs(x, weight)


def _batched(recorder: _Recorder, x: Tensor, y: Tensor, output: Tensor) -> None:
    tally = recorder.tally("matmul", x, output)
    tally.macs += output.numel() * x.shape[-1]
    tally.inside += output.numel() * x.shape[-1]
    tally.joint += product_pairs(x, y)


def _attention(recorder: _Recorder, args: tuple[Any, ...], output: Tensor) -> None:
    """Queries (..., n, d) times keys (..., m, d), and their softmax times values (..., m, e), in one operator."""
    query, key, value = args[:3]
    tally = recorder.tally("attention", query, output)
    tally.macs += query.numel() * key.shape[-2] + output.numel() * value.shape[-2]


def _vector(recorder: _Recorder, matrix: Tensor, vector: Tensor, output: Tensor) -> None:
    """A matrix (n, in), or a vector (in,), times a vector (in,): whichever is a parameter is the weight."""
    learned = vector.untyped_storage().data_ptr() in recorder.weights
    source, made = (matrix, output) if learned and output.dim() else (vector[None], output.reshape(1, -1))
    tally = recorder.tally("matmul", source, made)
    tally.macs += matrix.numel()
    tally.inside += matrix.numel()
    tally.joint += product_pairs(matrix.reshape(-1, vector.numel()), vector[:, None])


def _trilinear(recorder: _Recorder, args: tuple[Any, ...], output: Tensor) -> None:
    """Of ``nn.Bilinear``: (rows, in1), weights (out, in1, in2) and (rows, in2) to (rows, out).

    Counted as the two products that it is, x1 W and that times x2.
    """
    first, weight, _ = args[:3]
    tally = recorder.tally("bilinear", first, output, weight, weight_shape=tuple(weight.shape))
    tally.macs += output.numel() * weight.shape[-1] * (weight.shape[-2] + 1)


def _recurrent(recorder: _Recorder, args: tuple[Any, ...], output: Tensor) -> None:
    """One layer of one direction of an LSTM: x (steps, rows, in), weights (gates, in) and (gates, hidden)."""
    x, of_input, of_state = args[:3]
    steps, made = x.reshape(-1, x.shape[-1]), output.reshape(-1, output.shape[-1])
    shape = (of_input.shape[0], of_input.shape[1] + of_state.shape[1])
    tally = recorder.tally("lstm", steps, made, of_input, weight_shape=shape)
    tally.macs += len(steps) * (of_input.numel() + of_state.numel())


PRODUCTS: dict[Any, CountRule] = {
    aten._convolution.default: lambda recorder, args, output: _convolution(recorder, args[:9], output),
    aten._convolution.deprecated: lambda recorder, args, output: _convolution(recorder, args[:9], output),
    aten.mv.default: lambda recorder, args, output: _vector(recorder, args[0], args[1], output),
    aten.addmv.default: lambda recorder, args, output: _vector(recorder, args[1], args[2], output),
    aten.dot.default: lambda recorder, args, output: _vector(recorder, args[0], args[1], output),
    aten.vdot.default: lambda recorder, args, output: _vector(recorder, args[0], args[1], output),
    aten._trilinear.default: _trilinear,
    aten.mkldnn_rnn_layer.default: _recurrent,
    aten.convolution.default: _convolution,
    aten.mm.default: lambda recorder, args, output: _product(recorder, args[0], args[1], output),
    aten.addmm.default: lambda recorder, args, output: _product(recorder, args[1], args[2], output),
    aten.bmm.default: lambda recorder, args, output: _batched(recorder, args[0], args[1], output),
    aten.baddbmm.default: lambda recorder, args, output: _batched(recorder, args[1], args[2], output),
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
}
"""Operators of PyTorch that multiply and accumulate; a kind of layer brings the rules of its own operators."""


def _window(args: tuple[Any, ...]) -> dict[str, Any]:
    """Kernel, stride and padding of a pooling: its second to fourth argument, one number standing for both sides."""
    kernel, stride, padding = (tuple(args[i]) * (2 // len(args[i])) if len(args) > i else () for i in (1, 2, 3))
    return {"kernel": kernel, "stride": stride or kernel, "padding": padding or (0, 0)}


def _bits(tensor: Tensor) -> int:
    """Bits of one number of a tensor; of one that holds no fractions (places, truths), those of a float."""
    return 8 * tensor.element_size() if tensor.is_floating_point() or tensor.is_complex() else 32


def _density(tensor: Tensor) -> float:
    return int(tensor.count_nonzero()) / max(tensor.numel(), 1)


def _operation(layer: str, operator: str, tally: _Tally, formats: Mapping[str, Format]) -> Operation:
    form = formats.get(layer)
    return Operation(
        layer=layer,
        operator=operator,
        rows=tally.rows,
        calls=tally.calls,
        macs=tally.macs,
        weight_bits=(form and form.weight_bits) or tally.weight_bits,
        activation_bits=(form and form.activation_bits) or tally.activation_bits,
        weight_density=tally.weight_density,
        activation_density=tally.nonzero / max(tally.elements, 1),
        joint_density=tally.joint / tally.inside if tally.inside else 1.0,
        **tally.shape,
    )
