# SPDX-License-Identifier: BSD-3-Clause
"""Compiled graphs against the same operations computed eagerly, and the promises of `Engine`."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest

import cnnkern
from cnnkern import _core, nn
from cnnkern import functional as F
from cnnkern.engine import Executable
from cnnkern.engine.planner import Lifetime, plan_memory
from cnnkern.graph import Trace, current_trace, gradients, trace

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


def batch_norm_arrays(channels: int) -> tuple[np.ndarray, ...]:
    return normal(channels), 0.5 + RNG.random(channels, dtype=np.float32), normal(channels), normal(channels)


class Block:
    """Convolution, batch norm, ReLU, a residual branch with a projection, pooling, a head: what passes rewrite."""

    def __init__(self, channels: int = 3, width: int = 20) -> None:
        self.stem, self.stem_norm = normal(width, channels, 3, 3), batch_norm_arrays(width)
        self.main, self.main_norm = normal(width + 12, width, 3, 3) * 0.1, batch_norm_arrays(width + 12)
        self.side, self.side_norm = normal(width + 12, width, 1, 1), batch_norm_arrays(width + 12)
        self.head, self.bias = normal(5, width + 12), normal(5)

    def norm(self, x, arrays):
        return F.batch_norm(x, *arrays)

    def __call__(self, x):
        x = F.relu(self.norm(F.conv2d(x, self.stem, padding=1), self.stem_norm))
        x = F.max_pool2d(x, 3, 2, 1)
        main = self.norm(F.conv2d(x, self.main, stride=2, padding=1), self.main_norm)
        side = self.norm(F.conv2d(x, self.side, stride=2), self.side_norm)
        x = F.relu(F.add(main, side))
        return F.linear(F.flatten(F.adaptive_avg_pool2d(x, 1), 1), self.head, self.bias)


@pytest.mark.parametrize("shape", [(1, 3, 9, 9), (2, 3, 16, 16), (3, 3, 23, 31), (1, 3, 64, 64)])
def test_residual_network(shape, isa):
    block, x = Block(), normal(*shape)
    engine = cnnkern.compile(block, shape)
    assert relative(engine(x), block(x)) < 2e-6
    ops = [step.op for step in engine.steps]
    assert "batch_norm" not in ops and "binary" not in ops and "unary" not in ops, ops


def test_other_sizes_share_weights_and_keep_few_plans():
    block = Block(width=64)
    engine = cnnkern.compile(block, (1, 3, 16, 16))
    packed = engine.memory().packed
    for size in range(16, 40):
        x = normal(1, 3, size, size)
        assert relative(engine(x), block(x)) < 2e-6
    assert len(engine._plans) <= 8
    assert engine.memory().packed <= 4 * packed


def test_structure_several_inputs_and_outputs():
    weight = normal(8, 3, 3, 3)

    def model(a, b):
        y = F.conv2d(a, weight, padding=1)
        return {"sum": F.add(y, b), "pair": (y, [F.relu(b), a])}

    a, b = normal(2, 3, 6, 6), normal(2, 8, 6, 6)
    engine = cnnkern.compile(model, (a.shape, b.shape))
    found, expected = engine(a, b), model(a, b)
    assert list(found) == ["sum", "pair"] and isinstance(found["pair"], tuple) and isinstance(found["pair"][1], list)
    assert relative(found["sum"], expected["sum"]) < 1e-6
    assert relative(found["pair"][0], expected["pair"][0]) < 1e-6
    assert np.array_equal(found["pair"][1][0], expected["pair"][1][0])
    assert np.array_equal(found["pair"][1][1], a) and not np.shares_memory(found["pair"][1][1], a)
    assert [info.shape for info in engine.inputs] == [a.shape, b.shape]
    assert [info.shape for info in engine.outputs] == [(2, 8, 6, 6), (2, 8, 6, 6), (2, 8, 6, 6), (2, 3, 6, 6)]


def test_concatenation_of_any_widths(isa):
    weights = [normal(width, 4, 1, 1) for width in (16, 32, 5, 7)]

    def model(x):
        return F.max_pool2d(F.concat([F.relu(F.conv2d(x, w)) for w in weights], 1), 2)

    x = normal(2, 4, 6, 6)
    assert relative(cnnkern.compile(model, x.shape)(x), model(x)) < 1e-6


def test_one_value_twice_and_values_that_are_inputs():
    def model(x):
        y = F.relu(x)
        return y, y, x, F.flatten(y, 1)

    x = normal(2, 3, 4, 4)
    found = cnnkern.compile(model, x.shape)(x)
    for array, expected in zip(found, model(x), strict=True):
        assert np.array_equal(array, expected)
    assert not np.shares_memory(found[0], found[1])


def test_snapshot_of_the_weights():
    block, x = Block(), normal(1, 3, 12, 12)
    engine = cnnkern.compile(block, x.shape)
    before = engine(x)
    block.stem *= 2
    assert np.array_equal(engine(x), before)
    assert np.array_equal(engine(normal(2, 3, 14, 14)).shape, (2, 5))


def test_the_models_own_arrays_serve_without_a_copy():
    layers, x = nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.ReLU()), normal(2, 3, 12, 12)
    for model in (layers, Block()):
        engine = cnnkern.compile(model, x.shape, copy=False)
        assert np.array_equal(engine(x), cnnkern.compile(model, x.shape)(x))
    assert layers.training
    engine = cnnkern.compile(layers, x.shape, copy=False)
    assert {id(array) for array in engine._model.parameters()} == {id(array) for array in layers.parameters()}
    for other in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        assert np.array_equal(other(x), engine(x))
    with pytest.raises(TypeError, match="copy must be True or False"):
        cnnkern.compile(layers, x.shape, copy=0)


def test_weights_are_held_once_beside_the_packed_ones():
    x = normal(1, 64, 6, 6)
    model = nn.Sequential(nn.Conv2d(64, 512, 3, bias=False), nn.BatchNorm2d(512)).eval()
    model[1].running_var[:] = np.linspace(0.5, 2, 512)
    expected = model(x)
    tracemalloc.start()
    engine = cnnkern.compile(model, x.shape, copy=False, winograd=False)
    assert tracemalloc.get_traced_memory()[1] < model[0].weight.nbytes / 2
    tracemalloc.stop()
    assert relative(engine(x), expected) < 1e-6


def test_copies_and_pickles():
    engine = cnnkern.compile(Block(), (1, 3, 12, 12))
    x = normal(1, 3, 12, 12)
    for other in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        assert np.array_equal(other(x), engine(x))


def test_many_threads_at_once():
    engine = cnnkern.compile(Block(), (1, 3, 20, 20))
    inputs = [normal(1, 3, 20, 20) for _ in range(6)]
    expected = [engine(x) for x in inputs]
    wrong = []

    def work(index: int) -> None:
        for _ in range(50):
            if not np.array_equal(engine(inputs[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_same_bits_for_any_number_of_threads(isa):
    engine, x = cnnkern.compile(Block(width=48), (2, 3, 33, 33)), normal(2, 3, 33, 33)
    results = []
    for count in (1, 2, 3, 7):
        with cnnkern.threads(count):
            results.append(engine(x))
    assert all(np.array_equal(result, results[0]) for result in results)


def test_memory_is_known_and_empty_batches_work():
    engine = cnnkern.compile(Block(), (1, 3, 16, 16))
    memory = engine.memory()
    assert memory.arena > 0 and memory.weights > 0 and memory.total == sum(memory)
    assert engine(np.zeros((0, 3, 16, 16), np.float32)).shape == (0, 5)


def test_strided_and_read_only_inputs():
    block = Block()
    engine, x = cnnkern.compile(block, (2, 3, 10, 10)), normal(2, 10, 10, 3).transpose(0, 3, 1, 2)
    x.flags.writeable = False
    assert np.array_equal(engine(x), engine(np.ascontiguousarray(x)))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3, (1, 3, 8, 8)), TypeError, "model must be a Module or a function"),
        ((Block(), 3), TypeError, "input_shape must be a tuple"),
        ((Block(), (1, 3, 8.0, 8)), TypeError, "must hold integers"),
        ((Block(), (1, 3, -8, 8)), ValueError, "must not be negative"),
        ((Block(), (1, 4, 8, 8)), ValueError, "expects 3 input channels, input has 4"),
    ],
)
def test_compile_refuses(arguments, error, text):
    with pytest.raises(error, match=text):
        cnnkern.compile(*arguments)


def test_engine_refuses():
    engine = cnnkern.compile(Block(), (1, 3, 8, 8))
    with pytest.raises(TypeError, match="expected 1 input, found 2"):
        engine(normal(1, 3, 8, 8), normal(1, 3, 8, 8))
    with pytest.raises(TypeError, match="must be float32, found float64"):
        engine(np.zeros((1, 3, 8, 8)))
    with pytest.raises(ValueError, match="precision must be one of"):
        cnnkern.compile(Block(), (1, 3, 8, 8), precision="int4")
    with pytest.raises(ValueError, match=r"threads must be in 1 \.\. 1024"):
        cnnkern.compile(Block(), (1, 3, 8, 8), threads=0)


def training_graph(weight, norm, head, x_shape, labels_shape):
    from cnnkern.graph import Spec

    def step(x, labels):
        recording: Trace | None = current_trace()
        assert recording is not None
        wrt = [recording.constant(array) for array in (weight, norm[2], norm[3], head)]
        y = F.conv2d(x, weight, padding=1, stride=2)
        y = F.relu(F.batch_norm(y, *norm, training=True))
        y = F.max_pool2d(y, 2)
        loss = F.cross_entropy(F.linear(F.flatten(y, 1), head), labels)
        return loss, gradients(recording, loss, wrt)

    return trace(step, [Spec(x_shape), Spec(labels_shape, np.dtype(np.int32))])


def test_executable_training_step_equals_the_interpreter(isa):
    from cnnkern.graph import run_numpy

    x, labels = normal(4, 3, 12, 12), np.array([0, 2, 1, 1], np.int32)
    weight, norm, head = normal(10, 3, 3, 3), batch_norm_arrays(10), normal(3, 90)
    start = [array.copy() for array in norm]
    expected_loss, expected = run_numpy(training_graph(weight, norm, head, x.shape, labels.shape), (x, labels))
    moved = [array.copy() for array in norm]
    for array, value in zip(norm, start, strict=True):
        array[...] = value
    graph = training_graph(weight, norm, head, x.shape, labels.shape)
    executable = Executable(graph)
    results = []
    for threads in (1, 2, 3):
        for array, value in zip(norm, start, strict=True):
            array[...] = value
        with cnnkern.threads(threads):
            results.append(executable(x, labels))
    loss, found = graph.restore(results[0])
    assert relative(loss, expected_loss) < 1e-6
    for a, b in zip(found, expected, strict=True):
        assert relative(a, b) < 3e-6
    assert relative(norm[0], moved[0]) < 1e-6 and relative(norm[1], moved[1]) < 1e-6
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))
    head *= 0.5  # live constants: the next run sees it
    changed, _ = graph.restore(executable(x, labels))
    assert relative(changed, loss) > 1e-3
    assert relative(changed, run_numpy(graph, (x, labels))[0]) < 1e-6


def test_arena_never_lets_living_tensors_overlap():
    rng = np.random.default_rng(0)
    for _ in range(200):
        lives = []
        for tensor in range(int(rng.integers(1, 30))):
            first = int(rng.integers(0, 40))
            lives.append(Lifetime(tensor, 64 * int(rng.integers(1, 50)), first, first + int(rng.integers(0, 8))))
        offsets, total = plan_memory(lives)
        for a in lives:
            assert offsets[a.tensor] % 64 == 0 and offsets[a.tensor] + a.size <= total
            for b in lives:
                if a.tensor < b.tensor and a.first <= b.last and b.first <= a.last:
                    assert (
                        offsets[a.tensor] + a.size <= offsets[b.tensor]
                        or offsets[b.tensor] + b.size <= offsets[a.tensor]
                    )
        assert total <= sum(life.size for life in lives)


def test_plan_refuses_what_would_leave_memory():
    plan = _core.Plan()
    a, b = plan.tensor([4, 4]), plan.tensor([4, 4])
    plan.input(a, 0)
    plan.step("unary", {"function": "relu"}, [a, b])
    with pytest.raises(ValueError, match="has no place"):
        plan.freeze(0)
    plan.arena(b, 0)
    with pytest.raises(ValueError, match="leaves the arena"):
        plan.freeze(0)
    with pytest.raises(ValueError, match="multiple of 64"):
        plan.arena(plan.tensor([1]), 3)


def test_large_fully_connected_weights_are_not_copied_for_few_rows():
    weight, bias = normal(2048, 2048), normal(2048)

    def model(x):
        return F.linear(x, weight, bias)

    for rows, copied in ((1, False), (8, False), (200, True)):
        engine = cnnkern.compile(model, (rows, 2048), copy=False)
        x = normal(rows, 2048)
        assert relative(engine(x), model(x)) < 3e-6
        assert (engine.memory().packed >= weight.nbytes) == copied, f"{rows} rows"
