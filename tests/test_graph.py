# SPDX-License-Identifier: BSD-3-Clause
"""Tracing, graphs and gradients, in float64 through the reference."""

import threading
from collections import namedtuple
from typing import Any

import numpy as np
import oracle
import pytest

import cnnkern
from cnnkern import functional as F
from cnnkern import graph as G
from cnnkern import reference

Array = np.ndarray[Any, Any]
Point = namedtuple("Point", "x y")


def f64(*shape: int) -> G.Spec:
    return G.Spec(shape, np.dtype(np.float64))


def names(graph: G.Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def value_and_gradients(function: Any, arrays: list[Array], wrt: list[int]) -> list[Array]:
    def both(*symbols: G.Symbol) -> Any:
        loss = function(*symbols)
        record = G.current_trace()
        assert record is not None
        return loss, G.gradients(record, loss, [symbols[i] for i in wrt])

    graph = G.trace(both, [G.Spec(a.shape, a.dtype) for a in arrays])
    loss, gradients = G.run_numpy(graph, arrays)
    return [loss, *gradients]


def assert_by_differences(function: Any, arrays: list[Array], wrt: list[int]) -> None:
    _, *gradients = value_and_gradients(function, arrays, wrt)
    for i, gradient in zip(wrt, gradients, strict=True):

        def of_one(value: Array, i: int = i) -> Array:
            return np.asarray(function(*arrays[:i], value, *arrays[i + 1 :]))

        oracle.assert_gradient(of_one, arrays[i], np.ones(()), gradient)


class TestTrace:
    def test_nodes_in_program_order_without_dead_ones(self) -> None:
        def function(x: Any) -> Any:
            F.exp(x)
            y = F.tanh(x)
            F.sigmoid(y)
            return F.relu(y) + x

        graph = G.trace(function, [(2, 3)])
        assert names(graph) == ["tanh", "relu", "add"]
        assert [s.shape for s in graph.inputs] == [(2, 3)]
        assert graph.outputs[0].node is graph.nodes[-1]
        assert graph.inputs[0].dtype == np.float32

    def test_structure_comes_back(self) -> None:
        def function(x: Any, y: Any) -> Any:
            return {"a": (x + y, [x, None]), "p": Point(y, x - y)}

        graph = G.trace(function, [f64(2), f64(2)])
        x, y = np.array([1.0, 2.0]), np.array([10.0, 20.0])
        result = G.run_numpy(graph, [x, y])
        assert set(result) == {"a", "p"}
        assert result["a"][0].tolist() == [11.0, 22.0]
        assert isinstance(result["a"], tuple) and isinstance(result["a"][1], list)
        assert result["a"][1][1] is None
        assert isinstance(result["p"], Point) and result["p"].y.tolist() == [-9.0, -18.0]

    def test_one_constant_per_array(self) -> None:
        w = oracle.normal(3, 3)
        same_content = w.copy()

        def function(x: Any) -> Any:
            return F.linear(F.linear(x, w), w) + F.linear(x, same_content)

        graph = G.trace(function, [f64(2, 3)])
        assert sorted(map(id, graph.constants.values())) == sorted([id(w), id(same_content)])
        x = oracle.normal(2, 3)
        expected = x @ w.T @ w.T + x @ w.T
        np.testing.assert_allclose(G.run_numpy(graph, [x]), expected, rtol=1e-12)
        w[...] = 0  # constants are read when the graph runs
        np.testing.assert_allclose(G.run_numpy(graph, [x]), x @ same_content.T, rtol=1e-12)

    def test_arrays_as_outputs(self) -> None:
        a = np.arange(3.0)
        graph = G.trace(lambda x: (x, a), [f64(2)])
        assert G.run_numpy(graph, [np.zeros(2)])[1] is a

    def test_several_outputs_of_a_node(self) -> None:
        graph = G.trace(lambda x: F.max_pool2d(x, 2, return_indices=True), [f64(1, 2, 4, 4)])
        values, indices = graph.outputs
        assert values.node is indices.node and (values.index, indices.index) == (0, 1)
        assert indices.dtype == np.int32
        x = oracle.distinct(1, 2, 4, 4)
        y, where = G.run_numpy(graph, [x])
        np.testing.assert_array_equal(
            np.take_along_axis(x.reshape(1, 2, 16), where.reshape(1, 2, 4), 2).ravel(), y.ravel()
        )

    def test_a_node_that_mutates_is_kept_and_mutates(self) -> None:
        mean, var = np.zeros(2), np.ones(2)

        def function(x: Any) -> Any:
            F.batch_norm(x, mean, var, training=True, momentum=0.5)
            return F.relu(x)

        graph = G.trace(function, [f64(4, 2)])
        assert names(graph) == ["batch_norm_training", "relu"]
        assert mean.tolist() == [0, 0]  # tracing computes nothing
        x = oracle.normal(4, 2)
        G.run_numpy(graph, [x])
        np.testing.assert_allclose(mean, x.mean(0) / 2)
        np.testing.assert_allclose(var, 0.5 + x.var(0, ddof=1) / 2)

    def test_optimizer_steps_are_nodes(self) -> None:
        w, buffer, hyper = np.ones(3), np.zeros(3), np.array([0.1, 1.0, 0, 0, 0, 0, 0, 0])

        def step(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            symbol = record.constant(w)
            loss = F.mse_loss(F.multiply(x, w), np.zeros(3), reduction="sum")
            (gradient,) = G.gradients(record, loss, [symbol])
            F.sgd_step(symbol, gradient, buffer, hyper, momentum=0.9)
            return loss

        graph = G.trace(step, [f64(3)])
        assert names(graph)[-1] == "sgd_step"
        assert G.run_numpy(graph, [np.array([1.0, 2.0, 3.0])]) == 14.0
        np.testing.assert_allclose(w, 1 - 0.1 * 2 * np.array([1.0, 4.0, 9.0]))
        np.testing.assert_allclose(buffer, 2 * np.array([1.0, 4.0, 9.0]))

    def test_operators(self) -> None:
        a = np.array([2.0, 4.0])
        x = np.array([8.0, 16.0])

        def function(s: Any) -> Any:
            return (s + a, a + s, s - 1, 1 - s, a - s, s * 2, a * s, s / a, a / s, 16 / s, -s, s / 4, np.float64(2) * s)

        expected = function(x)
        actual = G.run_numpy(G.trace(function, [f64(2)]), [x])
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_symbols_have_no_value(self) -> None:
        for function in (
            lambda x: x if x else -x,
            lambda x: np.exp(x),
            lambda x: float(x),
            list,
            lambda x: x[0],
            lambda x: np.asarray(x),
        ):
            with pytest.raises(TypeError):
                G.trace(function, [f64(1)])
        with pytest.raises(TypeError, match="control flow cannot depend on data"):
            bool(G.Symbol((1,)))

    def test_symbols_stay_in_their_trace(self) -> None:
        leaked: list[Any] = []
        G.trace(lambda x: leaked.append(x) or x, [f64(2)])
        with pytest.raises(ValueError, match="outside the trace"):
            F.relu(leaked[0])
        with pytest.raises(ValueError, match="of another trace"):
            G.trace(lambda x: x + leaked[0], [f64(2)])
        with pytest.raises(TypeError, match="must return arrays and symbols, found str"):
            G.trace(lambda x: (x, "y"), [f64(2)])

    def test_run_numpy_checks_inputs(self) -> None:
        graph = G.trace(F.relu, [f64(2)])
        with pytest.raises(ValueError, match="has 1 inputs, 2 were given"):
            G.run_numpy(graph, [np.zeros(2), np.zeros(2)])
        with pytest.raises(ValueError, match=r"expected Symbol\(float64\[2\]\), found float64\[3\]"):
            G.run_numpy(graph, [np.zeros(3)])

    def test_traces_of_threads_are_separate(self) -> None:
        graphs: dict[int, G.Graph] = {}
        barrier = threading.Barrier(4)

        def work(index: int) -> None:
            def function(x: Any) -> Any:
                for _ in range(50):
                    x = F.relu(x)
                    if _ % 10 == 0:
                        barrier.wait(timeout=10)
                return x

            graphs[index] = G.trace(function, [(index + 1,)])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, graph in graphs.items():
            assert len(graph.nodes) == 50
            assert {s.shape for node in graph.nodes for s in node.outputs} == {(index + 1,)}

    def test_multiply_adds(self) -> None:
        w, v = np.zeros((5, 3, 3, 3)), np.zeros((7, 80))
        graph = G.trace(lambda x: F.linear(F.flatten(F.conv2d(x, w), 1), v), [f64(1, 3, 6, 6)])
        assert G.count_multiply_adds(graph) == 2160 + 560  # five 3x3x3 filters on 6x6x3: 2160


class TestGradients:
    def test_a_small_network(self) -> None:
        def network(x: Any, w: Any, b: Any, scale: Any, shift: Any, v: Any, target: Any) -> Any:
            h = F.conv2d(x, w, b, stride=2, padding=1, groups=2)
            h = F.tanh(F.batch_norm(h, None, None, scale, shift, training=True))
            h = F.concat([F.avg_pool2d(h, 2), F.max_pool2d(h, 2)], 1)
            h = F.linear(F.flatten(h + F.adaptive_avg_pool2d(h, 1), 1), v)
            return F.cross_entropy(h, target, label_smoothing=0.1)

        rng = np.random.default_rng(0)
        shapes = [(3, 4, 8, 8), (6, 2, 3, 3), (6,), (6,), (6,), (5, 48)]
        arrays = [rng.standard_normal(s) * 0.5 for s in shapes]
        assert_by_differences(network, [*arrays, np.array([0, 4, 2], np.int32)], [0, 1, 2, 3, 4, 5])

    def test_frozen_batch_norm(self) -> None:
        mean, var = oracle.normal(3), np.array([0.5, 1.0, 2.0])

        def function(x: Any, w: Any, b: Any) -> Any:
            return F.mse_loss(F.batch_norm(x, mean, var, w, b), np.zeros((2, 3, 2, 2)))

        assert_by_differences(
            function, [oracle.normal(2, 3, 2, 2), oracle.normal(3), oracle.normal(3, seed=1)], [0, 1, 2]
        )

    def test_second_derivatives(self) -> None:
        """The gradient of a squared gradient, through the convolution's and the product's gradient operations."""

        def function(x: Any, w: Any, v: Any) -> Any:
            record = G.current_trace()
            y = F.matmul(F.flatten(F.square(F.conv2d(x, w, padding=1)), 1), v)
            loss = F.mse_loss(y, np.zeros((2, 2)), reduction="sum")
            if record is None:  # on arrays: trace the same to get the gradient
                return value_and_gradients(lambda *a: function(*a)[0], [x, w, v], [0, 1])
            gx, gw = G.gradients(record, loss, [x, w])
            return loss, gx, gw

        arrays = [oracle.normal(2, 2, 3, 3), oracle.normal(2, 2, 2, 2), oracle.normal(32, 2) * 0.1]

        def penalty(x: Any, w: Any, v: Any) -> Any:
            _, gx, gw = function(x, w, v)
            return F.mse_loss(gx, gx * 0.0, reduction="sum") + F.mse_loss(gw, gw * 0.0, reduction="sum")

        _, *gradients = value_and_gradients(penalty, arrays, [0, 1])
        torch = oracle.torch_or_skip()
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        y = torch.nn.functional.conv2d(tensors[0], tensors[1], padding=1).square().flatten(1) @ tensors[2]
        first = torch.autograd.grad(y.square().sum(), tensors[:2], create_graph=True)
        expected = torch.autograd.grad(sum(g.square().sum() for g in first), tensors[:2])
        for one, other in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-9)

    @pytest.mark.parametrize(
        "function",
        [
            F.relu, F.leaky_relu, F.hardtanh, F.sigmoid, F.tanh, F.exp, F.log, F.sqrt, F.square,
            lambda x: F.avg_pool2d(F.square(x), 2, 1, 1), lambda x: F.adaptive_avg_pool2d(F.square(x), (2, 1)),
        ],
    )  # fmt: skip
    def test_second_derivatives_of_one_argument(self, function: Any) -> None:
        weight = oracle.normal(1, 1, 3, 3)

        def slope(x: Any) -> Any:
            record = G.current_trace()
            if record is None:
                return value_and_gradients(lambda x: F.mse_loss(function(x), weight_of(x), reduction="sum"), [x], [0])[
                    1
                ]
            loss = F.mse_loss(function(x), weight_of(x), reduction="sum")
            return G.gradients(record, loss, [x])[0]

        def weight_of(x: Any) -> Array:
            return np.zeros(function(np.ones(x.shape)).shape)

        def penalty(x: Any) -> Any:
            return F.mse_loss(slope(x), weight, reduction="sum")

        assert_by_differences(penalty, [np.random.default_rng(2).uniform(0.1, 0.9, (1, 1, 3, 3))], [0])

    @pytest.mark.parametrize("transpose_a", [False, True])
    @pytest.mark.parametrize("transpose_b", [False, True])
    def test_product_of_transposed_matrices(self, transpose_a: bool, transpose_b: bool) -> None:
        attrs = {"transpose_a": transpose_a, "transpose_b": transpose_b}

        def function(a: Any, b: Any, bias: Any) -> Any:
            (y,) = G.apply(G.OPS["matmul"], (a, b, bias), attrs)
            return F.mse_loss(y, np.zeros((2, 4)), reduction="sum")

        a, b = oracle.normal(2, 3), oracle.normal(3, 4)
        arrays = [a.T.copy() if transpose_a else a, b.T.copy() if transpose_b else b, oracle.normal(4)]
        assert_by_differences(function, arrays, [0, 1, 2])

    def test_sum_from_the_last_node_to_the_first(self) -> None:
        """1 + 1e17 - 1e17 is 0, 1e17 - 1e17 + 1 is 1: the order of the sum shows in the value."""
        big, x = 1e17, np.ones(1)

        def ascending(x: Any) -> Any:
            parts = F.concat([x * 1.0, x * big, x * -big])
            return F.mse_loss(parts, np.zeros(3), reduction="none"), F.reshape(x * 1.0 + x * big + x * -big, ())

        def descending(x: Any) -> Any:
            a, b, c = x * big, x * -big, x * 1.0
            return F.reshape(c + (a + b), ())

        assert value_and_gradients(lambda x: ascending(x)[1], [x], [0])[1] == 1.0
        assert value_and_gradients(descending, [x], [0])[1] == 0.0

    def test_a_symbol_twice_in_one_node(self) -> None:
        assert_by_differences(lambda x: F.reshape(F.multiply(x, x) + F.divide(x, x), ()), [np.array([3.0])], [0])

    def test_what_the_loss_does_not_depend_on_has_none(self) -> None:
        def function(x: Any, y: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            loss = F.reshape(F.square(x), ())
            return [None if g is None else g for g in G.gradients(record, loss, [x, y])]

        assert G.trace(function, [f64(1), f64(1)]).structure == [0, None]

    def test_no_gradient_of_the_first_layer_s_input(self) -> None:
        w = np.zeros((4, 3, 3, 3))

        def function(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            symbol = record.constant(w)
            loss = F.mse_loss(F.conv2d(x, w), np.zeros((1, 4, 2, 2)))
            return G.gradients(record, loss, [symbol])

        graph = G.trace(function, [f64(1, 3, 4, 4)])
        assert "conv2d_grad_weight" in names(graph) and "conv2d_grad_input" not in names(graph)

    def test_gradient_through_what_is_computed_from_parameters_alone(self) -> None:
        direction = np.array([3.0, 4.0])

        def function(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            symbol = record.constant(direction)
            w = F.square(direction)  # arrays alone, but one of them is known to the trace
            return G.gradients(record, F.mse_loss(F.multiply(x, w), np.zeros(2), reduction="sum"), [symbol])

        (gradient,) = G.run_numpy(G.trace(function, [f64(2)]), [np.array([1.0, 2.0])])
        assert gradient.tolist() == [4 * 3.0**3, 4 * 4 * 4.0**3]

    def test_errors(self) -> None:
        def too_large(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            return G.gradients(record, x, [x])

        with pytest.raises(ValueError, match=r"the loss must have one element, found shape \(2,\)"):
            G.trace(too_large, [f64(2)])
        with pytest.raises(ValueError, match="call it while the trace is entered"):
            G.gradients(G.Trace(), G.Symbol((1,)), [])

        def no_rule(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            return G.gradients(record, F.reshape(F.softmax_grad(x, x, 0), ()), [x])

        with pytest.raises(ValueError, match="softmax_grad has no gradient rule"):
            G.trace(no_rule, [f64(1)])


class TestDropout:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_mask_is_that_of_the_reference(self, dtype: str) -> None:
        x = oracle.normal(3, 50).astype(dtype)
        y = F.dropout(x, 0.3, seed=7)
        expected = reference.dropout(x, np.array([[7, 0]], np.int32), p=0.3, node=0)
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        assert 0.15 < (y == 0).mean() < 0.45
        np.testing.assert_array_equal(y, F.dropout(x, 0.3, seed=7))
        assert not np.array_equal(y == 0, F.dropout(x, 0.3, seed=8) == 0)

    def test_sequence_begins_again(self) -> None:
        x = np.ones(100)
        cnnkern.manual_seed(5)
        first = [F.dropout(x), F.dropout(x)]
        assert not np.array_equal(first[0], first[1])
        cnnkern.manual_seed(5)
        np.testing.assert_array_equal(first, [F.dropout(x), F.dropout(x)])
        with pytest.raises(TypeError, match="manual_seed: seed must be an integer"):
            cnnkern.manual_seed(0.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="manual_seed: seed must be in"):
            cnnkern.manual_seed(-1)

    def test_gradient_has_the_same_mask(self) -> None:
        def function(x: Any) -> Any:
            record = G.current_trace()
            assert record is not None
            a, b = F.dropout(x), F.dropout(x)
            loss = F.mse_loss(a * 3.0 + b, np.zeros(64), reduction="sum")
            return a, b, G.gradients(record, loss, [x])[0]

        graph = G.trace(function, [f64(64)])
        assert list(graph.implicit) == ["rng"]
        assert [n.attrs["node"] for n in graph.nodes if n.op.name == "dropout"][:2] == [0, 1]
        x = oracle.normal(64)
        with pytest.raises(ValueError, match="needs the implicit input 'rng'"):
            G.run_numpy(graph, [x])
        masks = []
        for step in (0, 1):
            rng = np.array([[3, step]], np.int32)
            a, b, dx = G.run_numpy(graph, [x], {"rng": rng})
            masks += [a != 0, b != 0]
            np.testing.assert_allclose(dx, 2 * (3 * a + b) * (3.0 * (a != 0) * 2 + (b != 0) * 2), rtol=1e-12)
        assert len({m.tobytes() for m in masks}) == 4
