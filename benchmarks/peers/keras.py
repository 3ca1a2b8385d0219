"""Keras 3: model.fit on TensorFlow, its fastest backend here, many steps an execution; PEER_THREADS threads."""

import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers as kl

from peers.contender import BETAS, EPS, EVALUATED_AT_ONCE, LR, Contender, Loop, Settled
from peers.data import Data
from peers.network import Network, channels_last, initial

STEPS_AN_EXECUTION = 25
THREADS = int(os.environ["PEER_THREADS"])
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)


class Clock(keras.callbacks.Callback):
    """The seconds of an epoch, or of a prediction, without the set-up of the call."""

    def _begin(self, *_: object, **__: object) -> None:
        self.start = time.perf_counter()

    def _end(self, *_: object, **__: object) -> None:
        self.seconds = time.perf_counter() - self.start

    on_epoch_begin = on_predict_begin = _begin
    on_epoch_end = on_predict_end = _end


class KerasLoop(Settled):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        self.layers, self.batch = layers, batch
        self.x, self.y = data.x.reshape(-1, 28, 28, 1), data.y
        self.test_x = data.test_x.reshape(-1, 28, 28, 1)
        self.model = _model(layers)
        self.model.compile(
            keras.optimizers.Adam(LR, *BETAS, EPS),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
            steps_per_execution=STEPS_AN_EXECUTION,
        )
        self.load(initial(layers, seed))

    def load(self, arrays: list[np.ndarray]) -> None:
        self.model.set_weights(channels_last(self.layers, arrays))

    def train(self, images: int) -> float:
        clock = Clock()
        self.model.fit(self.x[:images], self.y[:images], self.batch, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds

    def evaluate(self) -> tuple[float, np.ndarray]:
        clock = Clock()
        logits = self.model.predict(self.test_x, EVALUATED_AT_ONCE, verbose=0, callbacks=[clock])
        return clock.seconds, logits


def _model(layers: Network) -> keras.Model:
    model = keras.Sequential([kl.Input((28, 28, 1))])
    for block in layers.blocks:
        model.add(kl.Conv2D(block.outputs, block.kernel, activation="relu"))
        model.add(kl.MaxPooling2D(block.pool))
    model.add(kl.Flatten())
    for layer in layers.linears:
        if layer.dropout:
            model.add(kl.Dropout(layer.dropout))
        model.add(kl.Dense(layer.outputs, activation="relu" if layer.relu else None))
    return model


class Contestant(Contender):
    packages = ("keras", "tensorflow-cpu")
    ways = (f"{THREADS} threads",)

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:  # noqa: ARG002
        keras.backend.clear_session()
        return KerasLoop(self.data, layers, batch, seed)
