# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern demo`: from handwritten digits to a compiled network, with what every kernel takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import cnnkern
from cnnkern import _core, data, graph, models, nn, train
from cnnkern.cli.report import print_report

Array = npt.NDArray[Any]

SEED = 0
EPOCHS = 15
BATCH = 32
# One of six settings of SGD and Adam that were tried; all reach 98.6 to 99.1 % on average over the five folds.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.02, 0.9, 5e-4
_INK = " .:-=+*#%@"


def optimizer() -> train.Optimizer:
    """The optimizer of the demo."""
    return train.SGD(LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def train_fold(
    fold: int, callbacks: Sequence[train.Callback] = (), validate: bool = False
) -> tuple[nn.Module, train.History, data.Digits]:
    """Train the course CNN on four fifths of the digits. Returns the model, its history and the held-out images."""
    training, held_out = data.digits().fold(fold)
    model = models.course_cnn(image_size=8, seed=SEED)
    history = train.fit(
        model,
        training,
        held_out if validate else None,
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer=optimizer(),
        callbacks=callbacks,
        seed=SEED,
        progress=False,
    )
    return model, history, data.Digits(*held_out)


def run(fold: int = 0, plot: str | None = None) -> None:
    """Print the whole demo; with `plot` also save a picture there.

    Raises:
        ImportError: a plot is wanted and matplotlib is missing; raised before anything is computed.
    """
    if plot:
        from cnnkern.plot import require_matplotlib

        require_matplotlib()
    start = time.perf_counter()
    print(f"cnnkern {cnnkern.__version__}, {_core.isa()} kernels, threads: {cnnkern.get_num_threads()}")
    _heading("Data")
    (x_train, _), (x_test, y_test) = data.digits().fold(fold)
    print(f"1,797 handwritten digits of 8x8 pixels: {len(x_train)} to learn from, {len(x_test)} held out (fold {fold})")
    _show_images(x_test[10:15], [f"a {label}" for label in y_test[10:15]])
    _heading("Network")
    print(models.course_cnn(image_size=8, seed=SEED).summary((1, 1, 8, 8)))
    _heading(
        f"Training: {EPOCHS} epochs of SGD, learning rate {LEARNING_RATE}, momentum {MOMENTUM}, batches of {BATCH}"
    )
    print(f"{'epoch':>5}  {'loss':>7}  {'accuracy':>8}  {'held out':>8}")
    began = time.perf_counter()
    model, history, held_out = train_fold(fold, [_Curve()], validate=True)
    print(f"trained in {time.perf_counter() - began:.1f} s")

    _heading("Compiled")
    began = time.perf_counter()
    engine = cnnkern.compile(model, held_out.images.shape)
    milliseconds = (time.perf_counter() - began) * 1e3
    scores = engine(held_out.images)
    answers = scores.argmax(1)
    print(f"compiled for {len(answers)} images in {milliseconds:.0f} ms")
    _show_answers(held_out, answers)
    _heading("How good it is, on images that it has never seen")
    print_report(held_out.labels, scores, [str(label) for label in range(scores.shape[1])])
    _heading("How fast it is")
    _kernel_times(model, held_out)
    if plot:
        from cnnkern.plot import demo_figure

        demo_figure(held_out.images, held_out.labels, answers, model.conv1.weight, history).savefig(plot)
        print(f"\npicture saved as {plot}")
    print(f"\nthe whole demo took {time.perf_counter() - start:.1f} s")


def _heading(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}")


class _Curve(train.Callback):
    """A line per epoch, with a bar for the accuracy on the held-out images from 80 % to 100 %."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        held_out = logs["val_accuracy"]
        bar = "#" * max(0, round((held_out - 0.8) * 200))
        print(f"{epoch + 1:>5}  {logs['loss']:>7.4f}  {logs['accuracy']:>8.1%}  {held_out:>8.1%}  {bar}", flush=True)


def _show_images(images: Array, captions: Sequence[str]) -> None:
    """Images (n, 1, 8, 8) in 0..1 as characters, side by side, each above its caption."""
    levels = np.clip(np.rint(images[:, 0] * (len(_INK) - 1)), 0, len(_INK) - 1).astype(int)
    for row in range(images.shape[2]):
        print(("  " + "   ".join("".join(_INK[level] * 2 for level in image[row]) for image in levels)).rstrip())
    width = 2 * images.shape[3]
    print(("  " + "   ".join(f"{caption:^{width}}" for caption in captions)).rstrip())


def _show_answers(held_out: data.Digits, answers: Array) -> None:
    right = np.flatnonzero(answers == held_out.labels)
    wrong = np.flatnonzero(answers != held_out.labels)
    print(f"\n{len(right)} right, for instance")
    _show_images(held_out.images[right[:4]], [f"{answers[i]}, true: {held_out.labels[i]}" for i in right[:4]])
    if len(wrong):
        print(f"\n{len(wrong)} wrong" + (", for instance" if len(wrong) > 4 else ""))
        _show_images(held_out.images[wrong[:4]], [f"{answers[i]}, true: {held_out.labels[i]}" for i in wrong[:4]])


def _seconds(function: Callable[[], Any], budget: float = 0.02) -> float:
    """The fastest of several calls (at least three), which take about `budget` seconds together."""
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def _row(name: str, shape: str, kernel: float, reference: float) -> None:
    ratio = reference / kernel
    shown = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    print(f"{name:<25}{shape:<14}{kernel * 1e6:>10,.1f}{reference * 1e6:>12,.1f}{shown:>12}")


def _kernel_times(model: nn.Module, held_out: data.Digits) -> None:
    """Each operation of a training step on a batch, by its kernel and by its NumPy definition; then whole passes."""
    x, y = held_out.images[:BATCH], held_out.labels[:BATCH]
    print(f"Microseconds for a batch of {BATCH} on one thread, called from Python, the fastest of several calls;")
    print("NumPy is the definition of the operation in cnnkern.reference, in float64.\n")
    print(f"{'operation':<25}{'input':<14}{'cnnkern':>10}{'NumPy':>12}{'times faster':>14}")
    x64 = x.astype(np.float64)
    exact_model = model.astype(np.float64)
    with cnnkern.threads(1):
        calls: dict[tuple[str, str], tuple[graph.OpDef, tuple[Any, ...], dict[str, Any]]] = {}
        for op, inputs, attrs in _operations(model.train(), x, y):
            shapes = [array.shape for array in inputs if array is not None and array.ndim > 1]
            if shapes and op.name != "reshape":
                calls.setdefault((op.name, "x".join(map(str, shapes[0]))), (op, inputs, attrs))
        for (name, shape), (op, inputs, attrs) in calls.items():
            exact = tuple(a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in inputs)
            kernel = _seconds(partial(graph.apply, op, inputs, attrs))
            _row(name, shape, kernel, _seconds(partial(graph.apply, op, exact, attrs)))
        gradients = train.value_and_grad(model)
        exact_graph = train.gradient_graph(exact_model.train(), x64, y)
        kernels = _seconds(lambda: gradients(x, y), 0.1)
        _row("network with gradients", "", kernels, _seconds(lambda: graph.run_numpy(exact_graph, (x64, y)), 0.1))
        engine = cnnkern.compile(model.eval(), x.shape)
        exact_model.eval()
        _row("network, compiled", "", _seconds(lambda: engine(x), 0.1), _seconds(lambda: exact_model(x64), 0.1))
    seconds = _seconds(lambda: engine(x), 0.1)
    print(f"\nclassifies {BATCH / seconds:,.0f} images a second, threads: {cnnkern.get_num_threads()}")


def _operations(model: nn.Module, x: Array, y: Array) -> list[tuple[graph.OpDef, tuple[Any, ...], dict[str, Any]]]:
    """The operations of loss and gradients on (x, y), each with the arrays that reach it."""
    traced = train.gradient_graph(model, x, y)
    values: dict[Any, Any] = {None: None, **{symbol: array.copy() for symbol, array in traced.constants.items()}}
    values.update(zip(traced.inputs, (x, y), strict=True))
    found = []
    for node in traced.nodes:
        inputs = tuple(values[symbol] for symbol in node.inputs)
        found.append((node.op, inputs, node.attrs))
        values.update(zip(node.outputs, graph.apply(node.op, inputs, node.attrs), strict=True))
    return found
