#!/usr/bin/env python3
"""Makes tests/data/import: small files of every kind that tools/import reads, and what is in them.

A tool for developers, not needed to build or test: python3 import_fixtures.py DIRECTORY
Made with Python 3.11, torch 2.x, numpy 2.x, h5py 3.x.
"""
import argparse
import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import zipfile

import h5py
import numpy as np
import torch

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
generator = torch.Generator().manual_seed(1)
stamp = (1980, 1, 1, 0, 0, 0)


def write_safetensors(path, tensors):
    names = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16",
             torch.int8: "I8", torch.uint8: "U8", torch.int16: "I16", torch.uint16: "U16", torch.int32: "I32",
             torch.uint32: "U32", torch.int64: "I64", torch.uint64: "U64", torch.bool: "BOOL"}
    header, data = {}, b""
    # Widest first: every tensor then begins on a multiple of its element, as readers in place want.
    for name, t in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        raw = bytes(t.contiguous().view(torch.uint8).numpy().tobytes()) if t.dim() else bytes(
            t.reshape(1).view(torch.uint8).numpy().tobytes())
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# ---- PyTorch ----
base = torch.randn(6, 5, generator=generator)
state = collections.OrderedDict(
    f32=base,
    transposed=base.t(),                      # shares the storage of f32, other strides
    slice=base[1:5:2, 1:],                    # an offset and a step
    row=base[3],                              # contiguous, with an offset
    f64=torch.randn(3, dtype=torch.float64, generator=generator),
    f16=torch.randn(3, 2, generator=generator).half(),
    bf16=torch.randn(4, generator=generator).bfloat16(),
    i64=torch.tensor(-(2 ** 40)),             # a scalar
    i32=torch.tensor([1, -2, 3], dtype=torch.int32),
    i16=torch.tensor([[300], [-300]], dtype=torch.int16),
    i8=torch.tensor([-128, 127], dtype=torch.int8),
    u8=torch.arange(200, 206, dtype=torch.uint8),
    flag=torch.tensor([True, False, True]),
    empty=torch.zeros(0, 4),
    repeated=torch.tensor([1.5, -2.5]).reshape(2, 1).expand(2, 3),  # stride 0
    parameter=torch.nn.Parameter(torch.randn(2, 2, generator=generator)),
)
state["block.weight"] = torch.randn(2, 3, 1, 1, generator=generator)
state._metadata = {"": {"version": 1}}
whole = {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]},
         "global_step": 42, "args": argparse.Namespace(network="fine_attention", heads=8, ratio=0.5, path=None)}
write_safetensors(out / "torch.expected.safetensors", {k: v.detach() for k, v in state.items()})
torch.save(whole, out / "torch.zip.pth")
torch.save(whole, out / "torch.legacy.pth", _use_new_zipfile_serialization=False)
torch.save(state, out / "torch.bare.pth", pickle_protocol=4)


def rewrite_zip(path, source, method=zipfile.ZIP_STORED, change=lambda name, data: data):
    with zipfile.ZipFile(out / source) as old, zipfile.ZipFile(out / path, "w", method) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                info = zipfile.ZipInfo("other/prefix/" + name.split("/", 1)[1], stamp)
                info.compress_type = method
                new.writestr(info, data)


rewrite_zip("torch.deflated.pth", "torch.zip.pth", zipfile.ZIP_DEFLATED)

# Types without a storage class of their own are rebuilt over untyped bytes.
torch.save({"u16": torch.tensor([[1, 65535]], dtype=torch.uint16), "u32": torch.tensor([2 ** 31], dtype=torch.uint32)},
           out / "torch.untyped.pth")
write_safetensors(out / "torch.untyped.expected.safetensors",
                  {"u16": torch.tensor([[1, 65535]], dtype=torch.uint16), "u32": torch.tensor([2 ** 31], dtype=torch.uint32)})

# As a big-endian machine writes it.
plain = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3).t(), "b": torch.tensor([1, -1], dtype=torch.int64)}
torch.save(plain, out / "torch.tmp.pth")
write_safetensors(out / "torch.plain.expected.safetensors", plain)


def to_big(name, data):
    if name.endswith("byteorder"):
        return b"big"
    if "/data/" in name:
        return np.frombuffer(data, "<f4" if len(data) == 24 else "<i8").byteswap().tobytes()
    return data


rewrite_zip("torch.big.pth", "torch.tmp.pth", change=to_big)
(out / "torch.tmp.pth").unlink()
legacy = io.BytesIO()
torch.save(plain, legacy, _use_new_zipfile_serialization=False)
(out / "torch.plain.legacy.pth").write_bytes(legacy.getvalue())

# Refused: names that would be run, and complex numbers.
class Runs:
    def __reduce__(self):
        return print, ("this must never be printed",)


torch.save({"model": {"w": torch.zeros(1)}, "x": Runs()}, out / "refused.runs.pth")
torch.save(torch.nn.Linear(2, 2), out / "refused.module.pth")
torch.save({"z": torch.zeros(2, dtype=torch.complex64)}, out / "refused.complex.pth")
script = torch.jit.script(torch.nn.ReLU())
script.save(str(out / "refused.script.pt"))

# ---- pickles ----
annotation = {"queries": ["q1", "q2"], "sets": {"q1": {"v1", "v2"}}, "frozen": frozenset(["x"]), "counts": collections.Counter("aab"),
              "default": collections.defaultdict(list, {"k": [1, 2.5, None, True, False]}),
              "ordered": collections.OrderedDict([("z", 1), ("a", (1, 2, 3, 4))]),
              "numbers": [0, 255, 256, 65535, 65536, -1, -2 ** 31, 2 ** 31, -2 ** 63, 2 ** 63 - 1, 2 ** 80, -2 ** 80],
              "text": "h\u00e4 \u0142\U0001f600\n'\\", "bytes": b"\x00\xff\x80a", 7: "seven", ("t",): 1, "empty": [[], {}, (), ""]}
annotation["again"] = annotation["queries"]
for protocol in range(6):
    (out / f"annotation.{protocol}.pickle").write_bytes(pickle.dumps(annotation, protocol))
loop = []
loop.append(loop)
(out / "refused.loop.pickle").write_bytes(pickle.dumps(loop))
arrays = {"mean": np.arange(3, dtype="f4"), "V": np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
          "big": np.arange(4, dtype=">i4"), "scalar": np.float32(2.5)}
for protocol in (2, 5):
    (out / f"arrays.{protocol}.pickle").write_bytes(pickle.dumps(arrays, protocol))
expected = {k: torch.from_numpy(np.ascontiguousarray(np.asarray(v)).astype(np.asarray(v).dtype.newbyteorder("<")).reshape(np.shape(v)))
            for k, v in arrays.items()}
write_safetensors(out / "arrays.expected.safetensors", expected)
# As Python 2 wrote a str and a long.
(out / "python2.pickle").write_bytes(b"(dp0\nS'id\\x41'\np1\n(lp2\nL5L\naI01\naF1.5\nag1\nas.")

# ---- NumPy ----
np.savez(out / "arrays.npz", **arrays)
np.savez_compressed(out / "arrays.deflated.npz", **arrays)
np.save(out / "array.npy", np.arange(24, dtype="f4").reshape(2, 3, 4))
np.save(out / "refused.object.npy", np.array([{}, []], dtype=object), allow_pickle=True)
np.save(out / "refused.text.npy", np.array(["a", "bc"]))

# ---- features: three videos in every container ----
random = np.random.default_rng(1)
videos = {"vid_a": random.standard_normal((7, 9, 16), dtype="f4"), "1/1_1_Y": random.standard_normal((3, 9, 16), dtype="f4"),
          "global": random.standard_normal((5, 16), dtype="f4")}
write_safetensors(out / "features.safetensors", {k: torch.from_numpy(v) for k, v in videos.items()})


def write_hdf5(name, dtype="f4", **options):
    with h5py.File(out / name, "w", libver="earliest") as file:
        for key, value in videos.items():
            file.create_dataset(key, data=value.astype(dtype), **options)


write_hdf5("features.hdf5", chunks=True, compression="gzip", compression_opts=9)
write_hdf5("features.f16.hdf5", "f2", chunks=True, shuffle=True, compression="gzip")
write_hdf5("features.f64.hdf5", ">f8")
np.savez(out / "features.npz", **videos)
np.savez_compressed(out / "features.deflated.npz", **{k: np.asfortranarray(v.astype("f2")) for k, v in videos.items()})
np.save(out / "features.npy", videos["vid_a"])

# As VSC2022 stores them: the rows of all videos in one array.
np.savez(out / "features.runs.npz", video_ids=np.concatenate([np.full(len(v), k) for k, v in videos.items() if v.ndim == 3]),
         features=np.concatenate([v for v in videos.values() if v.ndim == 3]).astype("f2"), timestamps=np.arange(10, dtype="f4"))
# Datasets that are no features, that lie elsewhere, or that are too large.
with h5py.File(out / "refused.hdf5", "w") as file:
    file.create_dataset("text", data=["a", "b"])
    file.create_dataset("rank", data=np.zeros((1, 1, 1, 1), "f4"))
    file.create_dataset("wide", shape=(2, 1 << 13, 1 << 13), chunks=(1, 1, 64), dtype="f4")
    file.create_dataset("long", shape=(1 << 33, 1, 1), chunks=(64, 1, 1), dtype="f4")
    file.create_dataset("chunk", shape=(1 << 20, 1, 128), chunks=(1 << 20, 1, 128), dtype="f4")
    file.create_dataset("elsewhere", shape=(2, 2), dtype="f4", external="elsewhere.raw")
    file.create_dataset("lzf", data=np.zeros((64, 4), "f4"), compression="lzf")
    file.create_dataset("none", shape=(0, 9, 16), dtype="f4")
    virtual = h5py.VirtualLayout(shape=(2, 2), dtype="f4")
    virtual[:] = h5py.VirtualSource("elsewhere.hdf5", "x", shape=(2, 2))
    file.create_virtual_dataset("virtual", virtual)
    file["link"] = h5py.ExternalLink("elsewhere.hdf5", "/x")
    file["loop"] = file["/"]

# ---- networks: small ones of the kinds that tests/data/golden does not have ----
numbers = np.random.default_rng(2)


def network(**shapes):
    return {name: torch.from_numpy(numbers.standard_normal(shape).astype("f4") / 4) for name, shape in shapes.items()}


layer = "transformer.layers.0."
torch.save({"model": network(**{
    "attention.transform.weight": (8, 8), "attention.transform.bias": (8,), "attention.context_vector.weight": (1, 8),
    layer + "self_attn.in_proj_weight": (24, 8), layer + "self_attn.in_proj_bias": (24,),
    layer + "self_attn.out_proj.weight": (8, 8), layer + "self_attn.out_proj.bias": (8,),
    layer + "linear1.weight": (16, 8), layer + "linear1.bias": (16,), layer + "linear2.weight": (8, 16),
    layer + "linear2.bias": (8,), layer + "norm1.weight": (8,), layer + "norm1.bias": (8,), layer + "norm2.weight": (8,),
    layer + "norm2.bias": (8,), "transformer.norm.weight": (8,), "transformer.norm.bias": (8,), "netvlad.centroids": (3, 8),
    "netvlad.conv.weight": (3, 8, 1, 1), "netvlad.reduction_layer.weight": (6, 24), "netvlad.norm.weight": (6,),
    "netvlad.norm.bias": (6,)}), "global_step": 7}, out / "coarse.pth")
vectors = numbers.standard_normal((100, 24))
d, V = np.linalg.eigh(vectors.T @ vectors)
torch.save({"mean": torch.from_numpy(vectors.mean(0)), "d": torch.from_numpy(d), "V": torch.from_numpy(V)}, out / "pca.pth")
np.savez(out / "itq.npz", proj=np.linalg.qr(numbers.standard_normal((8, 8)))[0])
