"""Keras as a contender: a functional model, with loss and gradient in one `tf.function`.

`function` is in float32; `bf16` follows Keras's own policy for mixed precision. The losses are sums in float32.
"""

from __future__ import annotations

from typing import Any

import keras  # type: ignore[import-not-found,import-untyped,unused-ignore]
import tensorflow as tf  # type: ignore[import-not-found,import-untyped,unused-ignore]

from benchmarks.problem import MEAN, PROBLEMS, Rgb, load_pictures, load_weights
from benchmarks.protocol import Job, Prepared, serve


def network(job: Job) -> keras.Model:
    """Return the activations that a job's loss names as a model; it takes the picture with the means subtracted."""
    problem, weights = PROBLEMS[job.recipe], load_weights(job)
    x = inputs = keras.Input((job.size, job.size, 3))
    activations: dict[str, Any] = {}
    for number, block in enumerate(problem.blocks()):
        x = keras.layers.MaxPooling2D()(x) if number else x
        for name in block:
            kernel, bias = weights[name]
            layer = keras.layers.Conv2D(len(bias), 3, padding="same", activation="relu", name=name)
            x = activations[name] = layer(x)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    model = keras.Model(inputs, {name: activations[name] for name in (problem.content_layer, *problem.style_layers)})
    model.trainable = False
    return model


def gram(f: Any) -> Any:
    """Return the channels' inner products, over all positions, in float32."""
    columns = tf.reshape(f, (-1, f.shape[-1]))
    return tf.cast(tf.matmul(columns, columns, transpose_a=True), tf.float32)


def prepare(job: Job) -> Prepared:
    """Return the evaluation of a job."""
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    if job.variant == "bf16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    problem, pictures, model = PROBLEMS[job.recipe], load_pictures(job), network(job)
    content = tf.cast(model(pictures.content[None] - MEAN)[problem.content_layer], tf.float32)
    painted = model(pictures.style[None] - MEAN)
    grams = {name: gram(painted[name]) for name in problem.style_layers}

    @tf.function  # type: ignore[untyped-decorator,unused-ignore]
    def loss_and_gradient(picture: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(picture)
            x = picture - MEAN
            f = model(x)
            total = problem.content_weight * tf.reduce_sum(
                (tf.cast(f[problem.content_layer], tf.float32) - content) ** 2
            )
            for name in problem.style_layers:
                _, height, width, channels = f[name].shape
                factor = problem.style_factor(channels, height * width, job.size**2)
                total += factor * tf.reduce_sum((gram(f[name]) - grams[name]) ** 2)
            if problem.tv_weight:
                a = (x[:, :-1, :-1] - x[:, 1:, :-1]) ** 2
                b = (x[:, :-1, :-1] - x[:, :-1, 1:]) ** 2
                total += problem.tv_weight * tf.reduce_sum((a + b) ** 1.25)
        return total, tape.gradient(total, picture)

    start = tf.constant(pictures.start[None])

    def evaluate() -> tuple[float, Rgb]:
        loss, gradient = loss_and_gradient(start)
        return float(loss), gradient.numpy()

    return Prepared(evaluate)


if __name__ == "__main__":
    serve(prepare)
