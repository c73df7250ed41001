"""The net as data: round trips, parts, and files that lie."""

from __future__ import annotations

import struct
import sys

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from joulemark import vocabulary
from joulemark.nets.header import Exit, Format, Route
from joulemark.nets.layers.integer import IntegerLayer
from joulemark.nets.net import Net, build, builders, usual_input_shape
from joulemark.nets.segments import Segments
from joulemark.training import cross_entropy, fit, sgd
from joulemark.vocabulary import TABLES

SHAPE = (1, 28, 28)
INT8 = Format(weight_bits=8, activation_bits=8, low=-1.0, high=3.0)


def exit_after_small(threshold: float) -> Exit:
    return Exit(after="small", router="exactly-one", threshold=threshold)


CASCADE = Route(kind="cascade", order=("small", "large"), exits=(exit_after_small(0.05),))
EXITS = Route(
    kind="exits", exits=(Exit(after="stage1", router="exactly-one", threshold=0.1, features=144, classes=10),)
)


def lenet(seed: int = 0, width: float = 0.05) -> Net:
    """LeNet of 1, 2 and 25 channels."""
    return Net.new("lenet", SHAPE, seed=seed, width=width)


def routed() -> Net:
    """With an exit, whose head is initialised."""
    torch.manual_seed(0)
    blank = lenet().replace(route=EXITS, state={})
    return blank.with_state(blank.module())


def cascade() -> Net:
    small = lenet(1).replace(masks={"classifier.output.weight": torch.arange(250).view(10, 25) % 3 != 0})
    large = lenet(2, 0.1).replace(formats={"stage1.conv": INT8})
    return Net(builder="lenet", input_shape=SHAPE, route=CASCADE, parts={"small": small, "large": large})


def pruned() -> Net:
    edits = (
        {"edit": "keep_channels", "layer": "stage2.conv", "outputs": [1]},
        {"edit": "keep_channels", "layer": "classifier.hidden", "inputs": list(range(16, 32))},
    )
    structure = lenet().replace(edits=edits, state={})
    return structure.with_state(structure.module())


NETS = {
    "plain": lenet,
    "masked": lambda: lenet().replace(masks={"stage2.conv.weight": torch.rand(2, 1, 5, 5) < 0.5}),
    "quantised": lambda: lenet().replace(formats={"stage2.conv": INT8, "classifier.hidden": INT8}),
    "edited": pruned,
    "routed": routed,
    "cascade": cascade,
}


def run(net: Net, x: torch.Tensor) -> torch.Tensor:
    module = net.module()
    with torch.no_grad():
        return getattr(module, "run", module)(x)


def forged(header: object, tensors: dict | None = None) -> bytes:
    text = header if isinstance(header, str) else msgspec.json.encode(header).decode()
    return safetensors.torch.save(tensors or {"state/x": torch.zeros(1)}, metadata={"net": text})


def test_lenet_has_the_parameters_of_the_literature():
    assert Net.new("lenet", SHAPE, seed=0).parameters() == 431_080


@pytest.mark.parametrize("kind", NETS)
def test_bytes_round_trip(kind):
    net, x = NETS[kind](), torch.randn(5, *SHAPE)
    data = net.to_bytes()
    back = Net.from_bytes(data)
    assert back.to_bytes() == data
    assert back.hash == net.hash
    assert torch.equal(run(back, x), run(net, x))
    assert (back.edits, back.route, dict(back.formats)) == (net.edits, net.route, dict(net.formats))
    assert {name: mask.dtype for name, mask in back.masks.items()} == dict.fromkeys(net.masks, torch.bool)
    assert back.parts.keys() == net.parts.keys()
    assert (back.parameters(), back.nonzeros()) == (net.parameters(), net.nonzeros())


def test_all_nets_have_their_own_hash():
    assert len({make().hash for make in NETS.values()}) == len(NETS)


def test_routed_nets_saved_before_routers_had_options_keep_their_hash():
    text = (
        '{"builder":"lenet","input_shape":[1,28,28],"options":{"width":0.05},"edits":[],"formats":{},"route":{"kind":'
        '"exits","exits":[{"after":"stage1","router":"exactly-one","threshold":0.25,"features":144,"classes":10}],'
        '"order":[]},"parts":{}}'
    )
    sizes = {name: tensor.shape for name, tensor in routed().state.items()}
    old = safetensors.torch.save({f"state/{name}": torch.zeros(sizes[name]) for name in sorted(sizes)}, {"net": text})
    net = Net.from_bytes(old)
    assert net.to_bytes() == old
    assert net.hash == "bbd9877f34e3b074"
    assert torch.equal(run(net, torch.randn(3, *SHAPE)), torch.zeros(3, 10))


def test_hash_changes_with_one_weight_and_not_with_order():
    net = lenet()
    state = {name: tensor.clone() for name, tensor in net.state.items()}
    assert net.replace(state=dict(reversed(state.items()))).hash == net.hash
    state["stage1.conv.bias"][0] += 1e-7
    assert net.replace(state=state).hash != net.hash


def test_the_seed_gives_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert lenet(4).hash == lenet(4).hash
    assert lenet(4).hash != lenet(5).hash
    assert torch.equal(torch.get_rng_state(), before)


def test_modules_are_in_evaluation_mode_and_share_nothing():
    net = lenet()
    before = net.hash
    module = net.module()
    assert not module.training
    with torch.no_grad():
        module.stage1.conv.weight.zero_()
    assert net.hash == before


def test_masks_zero_and_are_counted():
    net = lenet().replace(masks={"stage2.conv.weight": torch.zeros(2, 1, 5, 5, dtype=torch.bool)})
    assert not net.module().stage2.conv.weight.any()
    assert net.parameters() - net.nonzeros() == 50


def test_all_masks_have_the_names_of_the_module_and_zero_it():
    mask = torch.arange(25 * 32).view(25, 32) % 2 == 0
    small = cascade().parts["small"]
    net = cascade().replace(parts={**cascade().parts, "small": small.replace(masks={"classifier.hidden.weight": mask})})
    assert net.masks == {}
    assert list(net.all_masks) == ["small.classifier.hidden.weight"]
    assert torch.equal(net.module().get_parameter("small.classifier.hidden.weight") != 0, mask)
    assert list(small.all_masks) == ["classifier.output.weight"]


def test_a_fit_that_is_given_all_masks_keeps_the_zeros_of_parts():
    net = cascade()
    module, x = net.module(formats=False), torch.randn(32, *SHAPE)
    fit(module, x, torch.arange(32) % 10, epochs=1, batch_size=8, seed=0, optimiser=sgd(0.1), masks=net.all_masks,
        loss=lambda module, x, y: sum(cross_entropy(part, x, y) for part in (module.small, module.large)))  # fmt: skip
    trained = net.with_state(module)
    weight = trained.parts["small"].state["classifier.output.weight"]
    assert not torch.equal(weight, net.parts["small"].state["classifier.output.weight"])
    assert not weight[~net.parts["small"].masks["classifier.output.weight"]].any()


UNSAVED = {
    "threshold of NumPy": lambda n: n.replace(route=Route(kind="exits", exits=(exit_after_small(np.float32(0.5)),))),
    "option of NumPy": lambda n: n.replace(options={"width": np.float32(0.3)}),
    "threshold that is no number": lambda n: n.replace(
        route=Route(kind="exits", exits=(exit_after_small(float("nan")),))
    ),
    "infinite option": lambda n: n.replace(options={"width": float("inf")}),
    "edit of a tensor": lambda n: n.replace(edits=({"edit": "keep_channels", "outputs": torch.zeros(1)},)),
    "an option that holds itself": lambda n: n.replace(options={"width": LOOP}),
    "route that is none": lambda n: n.replace(route="exits"),
    "weights of NumPy": lambda n: n.replace(state={"x": np.zeros(3)}),
    "option that is no text": lambda n: n.replace(options={"name": "\ud800"}),
}
LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize("what", UNSAVED)
def test_what_cannot_be_saved_is_refused_in_one_sentence(what):
    with pytest.raises(ValueError, match=r"^the net cannot be saved: ") as caught:
        UNSAVED[what](lenet()).to_bytes()
    assert "\n" not in str(caught.value)


def test_parts_that_share_tensors_are_saved():
    large = lenet(2)
    net = cascade().replace(parts={"small": large.replace(formats={"stage1.conv": INT8}), "large": large})
    back = Net.from_bytes(net.to_bytes())
    assert back.hash == net.hash
    assert torch.equal(back.parts["small"].state["stage1.conv.weight"], large.state["stage1.conv.weight"])
    x = torch.randn(5, *SHAPE)
    assert torch.equal(run(back, x), run(net, x))


def test_views_of_one_tensor_are_saved():
    net = lenet()
    both = torch.randn(2, 25)
    net = net.replace(
        state={**net.state, "classifier.hidden.bias": both[0], "classifier.output.weight": both[1].expand(10, 25)}
    )
    assert Net.from_bytes(net.to_bytes()).hash == net.hash


def test_a_whole_number_for_a_threshold_is_the_same_net():
    net = cascade().replace(route=Route(kind="cascade", order=("small", "large"), exits=(exit_after_small(1),)))
    assert Net.from_bytes(net.to_bytes()).hash == net.hash


def test_formats_may_be_left_out():
    net = NETS["quantised"]()
    assert isinstance(net.module().stage2.conv, IntegerLayer)
    assert isinstance(net.module(formats=False).stage2.conv, nn.Conv2d)


def test_edited_net_has_fewer_parameters():
    assert pruned().module().classifier.hidden.weight.shape == (25, 16)
    assert pruned().parameters() == lenet().parameters() - 26 - 25 * 16


def test_cascade_runs_its_parts():
    net, x = cascade(), torch.randn(40, *SHAPE)
    small, large = (run(part, x) for part in net.parts.values())
    threshold = float(small.amax(1).median())
    net = net.replace(route=msgspec.structs.replace(CASCADE, exits=(exit_after_small(threshold),)))
    stays = (small >= threshold).sum(1) != 1
    assert 0 < stays.sum() < 40
    torch.testing.assert_close(run(net, x), torch.where(stays[:, None], large, small))
    assert net.parameters() == sum(part.parameters() for part in net.parts.values())


def test_training_a_cascade_trains_its_parts():
    net, x = cascade(), torch.randn(3, *SHAPE)
    module = net.module(formats=False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    trained = net.with_state(module)
    assert trained.parts["large"].formats == net.parts["large"].formats
    torch.testing.assert_close(trained.module(formats=False)(x), module(x))
    assert torch.equal(
        trained.parts["small"].state["stage1.conv.bias"], net.parts["small"].state["stage1.conv.bias"] / 2
    )
    assert trained.parameters() == net.parameters()


def test_with_state_refuses_a_module_that_lacks_weights():
    net = NETS["quantised"]()
    module = net.module()
    module.classifier.hidden.bias = None
    with pytest.raises(ValueError, match=r"lacks 'classifier.hidden.bias'"):
        net.with_state(module)


def test_a_net_takes_its_weights_back_from_a_module_in_its_formats():
    net = NETS["quantised"]()
    assert net.with_state(net.module()).hash == net.hash


def header(**changes) -> dict:
    return {"builder": "lenet", "input_shape": [1, 28, 28], "options": {"width": 0.05}, **changes}


def raw(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01",
        b"PK\x03\x04 a zip file",
        b"\x80\x04\x95 a pickle.",
        raw(b"[]"),
        raw(b"5"),
        raw(b'{"__metadata__": null}'),
        raw(b'{"__metadata__": {"net": 5}}'),
        raw(b"[" * 200_000),
        raw(b"\xff\xfe"),
        struct.pack("<Q", 2**64 - 1) + b"{}",
        safetensors.torch.save({"a": torch.zeros(1)}),
        forged("not JSON"),
        forged("[]"),
        forged({}),
        forged(header(builder=None)),
        forged(header(colour="red")),
        forged(header(formats={"a": {"low": "x"}})),
        forged(header(parts={"a": {}})),
    ],
)
def test_garbage_is_refused_in_one_sentence(data):
    with pytest.raises(ValueError, match=r"^not a saved net: ") as caught:
        Net.from_bytes(data)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_value_error(data, whole):
    with pytest.raises(ValueError, match=r"^not a saved net: "):
        Net.from_bytes(data if whole else raw(data))


TINY = lenet(width=0.01).to_bytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(TINY) - 2), st.integers(0, 255))
def test_cut_and_flipped_files(position, value):
    data = bytearray(TINY)
    with pytest.raises(ValueError, match=r"^not a saved net: "):
        Net.from_bytes(bytes(data[: -1 - position]))
    data[position] ^= value
    try:  # a flipped bit may give another net or another weight; anything else is one sentence
        back = Net.from_bytes(bytes(data))
        back.module()
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "builder", ["os:system", "os", "joulemark.nets.builders.lenet:lenet", "antigravity:fly", "", "Lenet"]
)
def test_only_registered_builders_are_imported(builder, monkeypatch):
    imported = []
    monkeypatch.setattr(vocabulary.importlib, "import_module", imported.append)
    net = Net.from_bytes(forged(header(builder=builder, options={})))
    for use in (net.module, net.parameters, lambda: usual_input_shape(builder)):
        with pytest.raises(ValueError, match=r"^unknown builder") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert imported == []
    assert "antigravity" not in sys.modules


def test_a_part_cannot_name_code_either():
    route = msgspec.to_builtins(CASCADE)
    parts = {"small": header(builder="os:system"), "large": header()}
    net = Net.from_bytes(forged(header(route=route, parts=parts)))
    with pytest.raises(ValueError, match=r"^unknown builder 'os:system'"):
        net.module()


def test_ours_cannot_be_replaced_by_an_installed_package(monkeypatch):
    class Entry:
        name, value = "lenet", "os:system"

    monkeypatch.setattr(vocabulary, "entry_points", lambda group: [Entry])
    assert builders()["lenet"] == "joulemark.nets.builders.lenet:lenet"


BAD = {
    "weights of another shape": (lambda n: n.replace(state={**n.state, "stage1.conv.bias": torch.zeros(7)}), "size"),
    "a weight too many": (lambda n: n.replace(state={**n.state, "colour": torch.zeros(1)}), "Unexpected"),
    "a weight missing": (lambda n: n.replace(state={"stage1.conv.bias": torch.zeros(1)}), "Missing"),
    "options unknown": (lambda n: n.replace(options={"depth": 3}), "does not take"),
    "edit of no layer": (lambda n: n.replace(edits=({"edit": "keep_channels", "layer": "x"},)), "is called 'x'"),
    "mask of no weight": (lambda n: n.replace(masks={"x": torch.ones(1, dtype=torch.bool)}), "mask 'x'"),
    "mask that would be broadcast": (
        lambda n: n.replace(masks={"stage1.conv.weight": torch.ones(1, dtype=torch.bool)}),
        r"of shape \(1,\) fits no parameter",
    ),
    "format of no layer": (lambda n: n.replace(formats={"x": INT8}), "layer 'x'"),
    "parts without a route": (lambda n: n.replace(parts={"a": n}), "needs a route"),
    "an edit that nobody knows": (
        lambda n: n.replace(edits=({"edit": "keep_chanels"},)),
        "did you mean 'keep_channels'",
    ),
    "a part not in the route": (lambda n: cascade().replace(parts={**cascade().parts, "x": n}), "each part once"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_does_not_fit_is_a_value_error(how):
    change, why = BAD[how]
    with pytest.raises(ValueError, match=why) as caught:
        change(lenet()).module()
    assert "\n" not in str(caught.value)


def test_builders_that_return_something_else_are_refused(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "list", "builtins:list")
    with pytest.raises(ValueError, match="returned list, not a torch module"):
        build("list", {})


def test_routed_net_keeps_the_paths_of_its_stages():
    module = routed().module()
    assert isinstance(module, Segments)
    assert set(lenet().state) | {"exits.stage1.1.weight", "exits.stage1.1.bias"} == set(module.state_dict())


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, 4)."""
        return self.two(self.one(x))


def test_a_mask_may_name_a_shared_weight_by_either_layer(monkeypatch):
    monkeypatch.setitem(TABLES["builder"], "tied", f"{__name__}:Tied")
    mask = torch.eye(4) > 0
    net = Net.new("tied", (4,), seed=0).replace(masks={"two.weight": mask})
    assert torch.equal(net.module().one.weight != 0, mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.complex64])
def test_a_mask_of_numbers_is_refused(dtype):
    net = lenet()
    mask = torch.ones_like(net.state["stage1.conv.weight"], dtype=dtype)
    with pytest.raises(ValueError, match=r"the mask 'stage1\.conv\.weight' holds torch\.\w+, not booleans"):
        Net.from_bytes(net.replace(masks={"stage1.conv.weight": mask}).to_bytes()).module()


def test_sizes_that_no_tensor_has_are_one_sentence():
    with pytest.raises(ValueError, match="builder 'lenet' does not take"):
        build("lenet", {"classes": -3})
    edit = {"edit": "fire", "layer": "stage2.conv", "squeeze": 10**15, "expand1x1": 1, "expand3x3": 1}
    with pytest.raises(ValueError, match="edit 'fire' does not take"):
        lenet().replace(edits=(edit,)).module()


def with_tensors(net: Net, **changes: torch.Tensor) -> bytes:
    """A saved net with other tensors beside its own header."""
    data = net.to_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    metadata = msgspec.json.decode(data[8 : 8 + length])["__metadata__"]
    return safetensors.torch.save({**safetensors.torch.load(data), **changes}, metadata=metadata)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (safetensors.torch.save({}, metadata={"net": msgspec.json.encode(header()).decode()}), "it holds no weights"),
        (with_tensors(lenet(), state=torch.zeros(1)), "it holds 'state', which belongs to nothing in it"),
        (
            with_tensors(lenet(), **{"parts/small/state/x": torch.zeros(1)}),
            "it holds 'parts/small/state/x', which belongs to nothing in it",
        ),
    ],
    ids=["none", "beside", "of no part"],
)
def test_a_file_holds_the_weights_of_its_net_and_no_others(data, why):
    with pytest.raises(ValueError, match=f"^not a saved net: {why}$"):
        Net.from_bytes(data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_weights_of_another_type_are_refused(dtype):
    net = lenet()
    bias = net.state["stage1.conv.bias"].to(dtype)
    with pytest.raises(ValueError, match=rf"'stage1.conv.bias' hold {dtype}, where the net has torch.float32"):
        net.replace(state={**net.state, "stage1.conv.bias": bias}).module()


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "../small"])
def test_a_part_has_a_name_that_a_file_can_hold(name):
    net = cascade()
    parts = {name: net.parts["small"], "large": net.parts["large"]}
    with pytest.raises(ValueError, match=r"a part cannot be called '.*': leave out '\.' and '/'"):
        net.replace(parts=parts).to_bytes()


@pytest.mark.parametrize("name", ["forward", "run", "train", "exits", "route", "stage_names", "training"])
def test_a_part_has_a_name_that_the_module_has_not(name):
    route = Route(kind="cascade", order=(name, "large"), exits=(Exit(after=name, router="onward", threshold=0.0),))
    net = cascade()
    with pytest.raises(ValueError, match=f"cannot (be called|have a stage that is called) {name!r}"):
        net.replace(route=route, parts={name: net.parts["small"], "large": net.parts["large"]}).module()


def test_a_net_of_parts_has_no_edits_of_its_own():
    part = Net.new("lenet", (1, 28, 28), seed=0, width=0.1)
    route = Route(kind="cascade", order=("s", "b"), exits=(Exit(after="s", router="exactly-one", threshold=0.5),))
    whole = Net(builder="lenet", input_shape=(1, 28, 28), route=route, parts={"s": part, "b": part})
    assert whole.module() is not None
    with pytest.raises(ValueError, match="a net of parts has no edits of its own"):
        whole.replace(edits=({"edit": "keep_channels", "layer": "s.stage1.conv"},)).module()


def test_what_a_builder_prints_is_no_output_of_ours(monkeypatch, capsys):
    def prints(**options):
        print("hello")  # noqa: T201
        return torch.nn.Linear(2, 2)

    monkeypatch.setattr("joulemark.nets.net.look_up", lambda kind, name: prints)
    build("prints", {})
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")
