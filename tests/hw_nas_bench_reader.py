"""The rows that HW-NAS-Bench's reader adds for a network of FBNet, from the description of the network.

Written without the space files and the exporter.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Channels of the seven stages and their depths.
_STAGES = ((16, 1), (24, 4), (32, 4), (64, 4), (112, 4), (184, 4), (352, 1))
#: Expansion, kernel and groups of the candidates; the ninth is the skip.
_CANDIDATES = ((1, 3, 1), (1, 3, 2), (3, 3, 1), (6, 3, 1), (1, 5, 1), (1, 5, 2), (3, 5, 1), (6, 5, 1))
#: Of each data set: side of the image, stride of the stem, strides of the stages, channels and classes of the end.
DATASETS = {
    "cifar100": (32, 1, (1, 1, 2, 2, 1, 2, 1), 1504, 100),
    "ImageNet": (224, 2, (1, 2, 2, 2, 1, 2, 1), 1984, 1000),
}


def keys_of(arch: Sequence[int], dataset: str) -> list[str]:
    """In the order of the network."""
    image, first, strides, head, classes = DATASETS[dataset]
    keys = [f"ConvNorm_H{image}_W{image}_Cin3_Cout16_kernel3_stride{first}_group1"]
    side, before, indices = image // first, 16, iter(arch)
    for (width, depth), begins in zip(_STAGES, strides, strict=True):
        for place in range(depth):
            stride, index = begins if place == 0 else 1, next(indices)
            sizes = f"H{side}_W{side}_Cin{before}_Cout{width}"
            if index == len(_CANDIDATES):
                keys.append(f"Skip_{sizes}_stride{stride}")
            else:
                expand, kernel, group = _CANDIDATES[index]
                keys.append(f"ConvBlock_{sizes}_exp{expand}_kernel{kernel}_stride{stride}_group{group}")
            side, before = side // stride, width
    keys.append(f"ConvNorm_H{side}_W{side}_Cin352_Cout{head}_kernel1_stride1_group1")
    return [*keys, f"AvgP_H{side}_W{side}_Cin{head}_Cout{head}_kernel{side}_stride1", f"FC_Cin{head}_Cout{classes}"]
