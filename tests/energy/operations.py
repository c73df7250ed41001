"""Operations as a run records them: single layers, and the two nets that published figures are of."""

from joulemark.workloads.workload import Operation


def conv(layer, channels, size, filters, kernel, *, stride=1, padding=0, groups=1, rows=1, calls=1, **more):
    out = (size + 2 * padding - kernel) // stride + 1
    return Operation(
        layer=layer,
        operator="conv",
        input_shape=(channels, size, size),
        output_shape=(filters, out, out),
        weight_shape=(filters, channels // groups, kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        groups=groups,
        rows=rows,
        calls=calls,
        macs=rows * filters * out * out * (channels // groups) * kernel * kernel,
        **more,
    )


def linear(layer, inputs, outputs, *, rows=1, **more):
    return Operation(
        layer=layer,
        operator="linear",
        input_shape=(inputs,),
        output_shape=(outputs,),
        weight_shape=(outputs, inputs),
        rows=rows,
        calls=1,
        macs=rows * inputs * outputs,
        **more,
    )


def alexnet():
    """Grouped AlexNet (Krizhevsky 2012) on 227 x 227."""
    return (
        conv("conv1", 3, 227, 96, 11, stride=4),
        conv("conv2", 96, 27, 256, 5, padding=2, groups=2),
        conv("conv3", 256, 13, 384, 3, padding=1),
        conv("conv4", 384, 13, 384, 3, padding=1, groups=2),
        conv("conv5", 384, 13, 256, 3, padding=1, groups=2),
        linear("fc6", 9216, 4096),
        linear("fc7", 4096, 4096),
        linear("fc8", 4096, 1000),
    )


def squeezenet():
    """SqueezeNet v1.0 (Iandola 2016) on 227 x 227; conv10 has padding 1 as in the authors' model."""
    layers = [conv("conv1", 3, 227, 96, 7, stride=2)]
    channels, size = 96, 55
    for index, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        size = {5: 27, 9: 13}.get(index, size)  # pools come before fire5 and fire9
        layers.append(conv(f"fire{index}.squeeze", channels, size, squeeze, 1))
        layers.append(conv(f"fire{index}.expand1", squeeze, size, 4 * squeeze, 1))
        layers.append(conv(f"fire{index}.expand3", squeeze, size, 4 * squeeze, 3, padding=1))
        channels = 8 * squeeze
    return (*layers, conv("conv10", channels, size, 1000, 1, padding=1))


def vgg16_convolutions():
    """The convolutions of VGG16 (Simonyan 2015, configuration D) on 224 x 224."""
    layers, channels, size = [], 3, 224
    for stage, (filters, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for index in range(1, count + 1):
            layers.append(conv(f"conv{stage}_{index}", channels, size, filters, 3, padding=1))
            channels = filters
        size //= 2
    return tuple(layers)


def resnet50():
    """ResNet-50 (He 2016) on 224 x 224, with the stride of a stage in its first 3 x 3 convolution (v1.5)."""
    layers, channels, size = (
        [conv("conv1", 3, 224, 64, 7, stride=2, padding=3)],
        64,
        56,
    )  # a pooling comes before layer1
    for stage, (width, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}.{block}"
            layers.append(conv(f"{name}.conv1", channels, size, width, 1))
            layers.append(conv(f"{name}.conv2", width, size, width, 3, stride=stride, padding=1))
            layers.append(conv(f"{name}.conv3", width, size // stride, 4 * width, 1))
            if block == 0:
                layers.append(conv(f"{name}.shortcut", channels, size, 4 * width, 1, stride=stride))
            channels, size = 4 * width, size // stride
    return (*layers, linear("fc", 2048, 1000))
