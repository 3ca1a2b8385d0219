"""A page that trains a network in the reader's browser, by the compiled step as WebAssembly. One file, no network.

demo = render(read_source("fashion-mnist"))
"""

import zlib
from dataclasses import asdict
from pathlib import Path

import jinja2
import numpy as np
import torch

from modelflow.data.datasets import pixel_statistics
from modelflow.data.source import Source
from modelflow.kernels.layout import Layout, layout
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.wasm import BROWSER, module
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.report import page as report
from modelflow.report import words
from modelflow.report.marks import SIGNS
from modelflow.report.sealed import as_base64, as_data, as_script, policy

NETWORK = "generic_2"
IMAGES, HELD_OUT = 2_000, 400  # the first training images; the last of them are held out
LARGEST_BATCH = 8  # as a power of two
TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = (report.TEMPLATES / "dom.js", *(TEMPLATES / f"{name}.js" for name in ("step", "curve", "demo")))  # in order


def render(source: Source) -> str:
    """The page, with its network, first weights and images of a data set of the network's size.

    The weights are those of `GenericCNN("generic_2")`, so of seed 42.
    """
    model = GenericCNN(preset(NETWORK))
    places = layout(model.trace, BROWSER.lanes)
    script = as_script("".join(path.read_text("utf-8") for path in SCRIPTS))
    style = (report.TEMPLATES / "report.css").read_text("utf-8") + (TEMPLATES / "demo.css").read_text("utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["count"] = words.count
    return environment.get_template("demo.html.j2").render(
        name=NETWORK,
        parameters=places.parameters,
        training=IMAGES - HELD_OUT,
        held_out=HELD_OUT,
        largest=LARGEST_BATCH,
        conv=places.convs[0],
        signs=SIGNS,
        style=style,
        script=script,
        policy=policy(script, "'wasm-unsafe-eval'"),
        data=as_data(_network(model, places) | _images(source)),
    )


def _network(model: GenericCNN, places: Layout) -> dict[str, object]:
    """The module, the sizes of what it works on, where the filters lie, and the first weights in float32."""
    sizes = ("lanes", "image", "classes", "packed", "block", "shared", "parameters")
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()
    compiled = module(model.trace, Adam())
    return {
        "network": {"module": _deflated(compiled)} | {name: getattr(places, name) for name in sizes},
        "conv": {name: asdict(places.convs[0])[name] for name in ("channels", "kernel", "flat")},
        "weights": as_base64(weights.astype("<f4").tobytes()),
        "largest": 2**LARGEST_BATCH,
    }


def _images(source: Source) -> dict[str, object]:
    """The images as bytes, their labels, and how they are normalised: as for a training on all of them."""
    mean, std = pixel_statistics(source.train_images, source.white)
    return {
        "images": _deflated(np.ascontiguousarray(source.train_images[:IMAGES]).tobytes()),
        "labels": as_base64(source.train_labels[:IMAGES].astype(np.uint8).tobytes()),
        "training": IMAGES - HELD_OUT,
        "classes": list(source.class_names),
        "mean": mean,
        "std": std,
        "white": source.white,
    }


def _deflated(content: bytes) -> str:
    return as_base64(zlib.compress(content, 9))
