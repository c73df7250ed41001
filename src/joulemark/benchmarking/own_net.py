"""The net that a user gives, as the baseline: looked at, so that what is wrong is said before anything is run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from joulemark.backends.backend import Images
from joulemark.data.own.calling import called
from joulemark.nets.net import Net
from joulemark.nets.own_nets import PICKLES, file_digest, given_net, own_structure, source_of


def own_net(label: str, example: Images) -> Net:
    """The net of the task of that label; ``example`` holds some inputs as it takes them.

    Raises ``ValueError`` in one sentence for what is no trained float32 net of one output a class.
    """
    given = given_net(label)
    if isinstance(given, str | Path):
        return _from_file(Path(given), example)
    if isinstance(given, Net):
        return _fitting(given, example)
    module = own_structure(label)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
            raise ValueError(f"net() gave a module whose {name} has no shape yet: run it once, then load its weights")
        if tensor.device.type != "cpu":
            raise ValueError(f"net() gave a module on {tensor.device}: end net() with .cpu()")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ValueError(
                f"net() gave {name} in {str(tensor.dtype).removeprefix('torch.')}: end net() with .float()"
            )
    if hasattr(module, "run"):
        raise ValueError("net() gave a module with a method run(), a name that Joulemark calls: give it another name")
    if not any(True for _ in module.parameters()):
        raise ValueError("net() gave a module without parameters: there is nothing to make cheaper")
    classes_of(module, example)
    net = Net(builder=label, input_shape=example.shape[1:], source=source_of(label))
    return net.with_state(module)


def classes_of(module: nn.Module, example: Images) -> int:
    """How many classes a module tells apart, from its outputs for some inputs. ``ValueError`` if they are no logits."""
    rows = torch.from_numpy(example)
    what = f"the net of net(), on inputs of shape {list(example.shape[1:])},"
    call = getattr(module.eval(), "run", module)  # of a net that Joulemark saved, whose rows may leave early
    with torch.no_grad():
        output, again = (called(what, call, rows) for _ in range(2))
    if not isinstance(output, Tensor):
        raise ValueError(
            f"net() answers with a {type(output).__name__}, not a tensor: wrap it in a module that returns the logits"
        )
    if output.dim() != 2 or len(output) != len(rows) or output.shape[1] < 2:
        raise ValueError(
            f"net() answers {len(rows)} inputs with a tensor of shape {list(output.shape)}: it should be one number a "
            f"class for each, ({len(rows)}, classes)"
        )
    if not bool(torch.isfinite(output).all()):
        raise ValueError("net() answers real inputs with NaN or infinity")
    if isinstance(again, Tensor) and not torch.allclose(output, again, rtol=1e-3, atol=1e-5):
        raise ValueError("net() answers the same inputs with other numbers each time: there is nothing to compare with")
    return int(output.shape[1])


def predicted_by(net: Net, images: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The class that a net gives to each row, in eager PyTorch."""
    module = net.module()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), 256):
            rows = torch.from_numpy(np.ascontiguousarray(images[start : start + 256]))
            parts.append(getattr(module, "run", module)(rows).argmax(1).numpy())
    return np.concatenate(parts)


def weights_digest(net: Net) -> str:
    """Digest of the weights of a net, whatever code builds it; of one read from a file, of that file as well."""
    found = hashlib.sha256(file_digest(net.builder).encode())
    for name, tensor in sorted(net.all_state.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _from_file(path: Path, example: Images) -> Net:
    if path.suffix in PICKLES:
        raise ValueError(
            f"net() gave the path {path.name}, which may be a pickle: build the module in net() and load it there, as "
            f'module.load_state_dict(torch.load("{path.name}", weights_only=True))'
        )
    if path.suffix != ".safetensors":
        raise ValueError(f"net() gave the path {path.name}: give a module, an .onnx file or a net that Joulemark saved")
    try:
        net = Net.from_bytes(path.read_bytes())
    except OSError as error:
        raise ValueError(f"net() gave {path}, which cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(
            f"net() gave {path}: {error}; weights alone are loaded in net(), by "
            f'module.load_state_dict(safetensors.torch.load_file("{path.name}"))'
        ) from error
    return _fitting(net, example)


def _fitting(net: Net, example: Images) -> Net:
    if net.input_shape != example.shape[1:]:
        raise ValueError(
            f"net() takes inputs of shape {list(net.input_shape)}, and yours are {list(example.shape[1:])}"
        )
    classes_of(net.module(), example)
    return net
