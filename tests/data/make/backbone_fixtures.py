#!/usr/bin/env python3
"""Makes tests/data/features: the tensors of each backbone (names and shapes of the PyTorch state dict) and the region
features that PyTorch computes with random weights.

A tool for developers, not needed to build or test:

    backbone_fixtures.py names OUT                    writes OUT/<backbone>.tensors
    write_random_backbone NAME NAME.safetensors frames.rgb
    backbone_fixtures.py golden OUT NAME NAME.safetensors frames.rgb
                                                      writes OUT/<backbone>.regions.safetensors
Made with Python 3.11, torch 2.15, torchvision 0.29, efficientnet_lite_pytorch 0.1.0.
"""
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file, save_file

LITE_TAPS = {"efficientnet-lite0": (3, 5, 11), "efficientnet-lite1": (4, 7, 15), "efficientnet-lite2": (4, 7, 15)}
WINDOWS = [(28, 14), (14, 7), (6, 3), (3, 2)]
KEPT_REGIONS = [0, 4, 8]


def build(name):
    if name == "resnet50":
        return torchvision.models.resnet50(weights=None).eval()
    # The 224x224 that dnsel gives all of them: padding is computed from the size of the picture.
    return EfficientNet.from_name(name, image_size=224).eval()


def used(key):
    return not (key.startswith(("fc.", "_fc.")) or key.endswith("num_batches_tracked"))


def normalise(x, dim):
    return x / x.norm(dim=dim, keepdim=True).clamp(min=1e-12)


def maps_of(name, model, frames):
    x = torch.tensor(frames).permute(0, 3, 1, 2).double()
    maps = []
    if name == "resnet50":
        mean = torch.tensor([0.485, 0.456, 0.406]).double().view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).double().view(1, 3, 1, 1)
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            stage.register_forward_hook(lambda module, given, out: maps.append(out))
        model((x / 255 - mean) / std)
    else:
        norms = [model._blocks[i]._bn0 for i in LITE_TAPS[name]] + [model._bn1]
        for norm in norms:
            norm.register_forward_hook(lambda module, given, out: maps.append(F.relu6(out)))
        model((x - 127) / 128)
    return maps


def golden(name, weights, frames):
    model = build(name)
    state = model.state_dict()
    state.update(load_file(weights))
    model.load_state_dict(state)
    with torch.no_grad():
        maps = maps_of(name, model.double(), frames)
    regions = [normalise(F.max_pool2d(m, window, stride).flatten(2), 1) for m, (window, stride) in zip(maps, WINDOWS)]
    regions = normalise(torch.cat(regions, 1), 1).permute(0, 2, 1)
    assert regions.shape[1] == 9
    print(name, tuple(regions.shape), "largest values of the maps", [round(float(m.max()), 2) for m in maps])
    return regions[:, KEPT_REGIONS].float().contiguous()


out = pathlib.Path(sys.argv[2])
if sys.argv[1] == "names":
    for name in ("resnet50", "efficientnet-lite0", "efficientnet-lite2"):
        lines = [f"{key} {' '.join(map(str, value.shape))}\n" for key, value in build(name).state_dict().items() if used(key)]
        (out / f"{name}.tensors").write_text("".join(lines))
else:
    name, weights, frames = sys.argv[3:6]
    pictures = np.fromfile(frames, np.uint8).reshape(-1, 224, 224, 3)
    save_file({"regions": golden(name, weights, pictures)}, out / f"{name}.regions.safetensors")
