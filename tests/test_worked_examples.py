# SPDX-License-Identifier: BSD-3-Clause
"""The figures of the course that cnnkern was created from: operations, losses, optimizers, initial values."""

import math
from typing import Any

import numpy as np
import oracle
import pytest
from oracle import Array

from cnnkern import functional, graph


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    """float32 runs the kernels, float64 the reference."""
    return np.dtype(request.param)


def image(rows: Any, dtype: np.dtype[Any]) -> Array:
    """One image of one channel, or one filter: (1, 1, H, W)."""
    return np.array(rows, dtype)[None, None]


def close(actual: Any, expected: Any, dtype: np.dtype[Any]) -> None:
    assert np.asarray(actual).dtype == dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(actual, np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance)


HORIZONTAL_EDGES = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
VERTICAL_EDGES = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]


class TestConvolution:
    def test_sobel_finds_the_edge(self, dtype: np.dtype[Any]) -> None:
        x = np.zeros((1, 1, 6, 6), dtype)
        x[..., 3:, :] = 255
        y = functional.conv2d(x, image(HORIZONTAL_EDGES, dtype))
        assert y.shape == (1, 1, 4, 4)
        assert y[0, 0].tolist() == [[0.0] * 4, [-1020.0] * 4, [-1020.0] * 4, [0.0] * 4]
        picture = (y - y.min()) / (y.max() - y.min()) * 255
        assert picture[0, 0, :, 0].tolist() == [255.0, 0.0, 0.0, 255.0]

    def test_sobel_magnitude(self, dtype: np.dtype[Any]) -> None:
        x = np.random.default_rng(0).integers(0, 256, (1, 1, 9, 11)).astype(dtype)
        kx, ky = image(VERTICAL_EDGES, dtype), image(HORIZONTAL_EDGES, dtype)
        squares = [functional.square(functional.conv2d(x, k)) for k in (kx, ky)]
        magnitude = functional.sqrt(functional.add(*squares))
        expected = np.empty((7, 9))
        for i, j in np.ndindex(expected.shape):
            window = x[0, 0, i : i + 3, j : j + 3].astype(np.float64)
            expected[i, j] = np.hypot((window * VERTICAL_EDGES).sum(), (window * HORIZONTAL_EDGES).sum())
        close(magnitude[0, 0], expected, dtype)

    def test_a_time_series_is_an_image_of_one_row(self, dtype: np.dtype[Any]) -> None:
        x, w = np.arange(10.0, dtype=dtype) ** 2, np.array([1, -2, 1], dtype)
        y = functional.conv1d(x[None, None], w[None, None])
        assert y[0, 0].tolist() == [2.0] * 8  # the second difference of a square
        np.testing.assert_array_equal(y[0, 0], np.correlate(x, w, "valid"))
        np.testing.assert_array_equal(y[:, :, None], functional.conv2d(x[None, None, None], w[None, None, None]))

    def test_an_image_in_time_is_a_sum_over_images(self, dtype: np.dtype[Any]) -> None:
        rng = np.random.default_rng(2)
        x = rng.integers(-4, 5, (2, 3, 6, 7, 5)).astype(dtype)  # (N, C, time, H, W)
        w = rng.integers(-2, 3, (4, 3, 2, 3, 3)).astype(dtype)
        frames = [sum(functional.conv2d(x[:, :, t + k], w[:, :, k]) for k in range(2)) for t in range(5)]
        y = functional.conv3d(x, w)
        assert y.shape == (2, 4, 5, 5, 3)
        np.testing.assert_array_equal(y, np.stack(frames, axis=2))
        windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3, 3), axis=(2, 3, 4))
        np.testing.assert_array_equal(y, np.einsum("ncthwijk,ocijk->nothw", windows, w))

    def test_sobel_is_separable(self, dtype: np.dtype[Any]) -> None:
        x = np.random.default_rng(1).integers(0, 256, (1, 1, 8, 7)).astype(dtype)
        column, row = image([[1], [2], [1]], dtype), image([[1, 0, -1]], dtype)
        in_two_steps = functional.conv2d(functional.conv2d(x, column), row)
        assert (in_two_steps == functional.conv2d(x, image(VERTICAL_EDGES, dtype))).all()

    def test_filter_of_five_ones(self, dtype: np.dtype[Any]) -> None:
        x = image([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]], dtype)
        w = image([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype)
        assert functional.conv2d(x, w)[0, 0].tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]

    def test_stride_two(self, dtype: np.dtype[Any]) -> None:
        x = image([[20, 30, 40, 70], [100, 140, 180, 170], [60, 120, 130, 140], [110, 150, 170, 205]], dtype)
        w = image([[1, 0], [0, 1]], dtype)
        assert functional.conv2d(x, w, stride=2)[0, 0].tolist() == [[160, 210], [210, 335]]

    @pytest.mark.parametrize(
        ("n", "k", "p", "s", "output"), [(6, 3, 0, 1, 4), (6, 3, 0, 2, 2), (8, 5, 0, 1, 4), (56, 1, 0, 2, 28)]
    )
    def test_output_size(self, n: int, k: int, p: int, s: int, output: int, dtype: np.dtype[Any]) -> None:
        assert (n + 2 * p - k) // s + 1 == output
        x, w = np.ones((1, 1, n, n), dtype), np.ones((1, 1, k, k), dtype)
        assert functional.conv2d(x, w, stride=s, padding=p).shape == (1, 1, output, output)

    @pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2), (4, 7)])
    def test_same_keeps_the_size(self, kernel: tuple[int, int], dtype: np.dtype[Any]) -> None:
        x, w = np.ones((1, 2, 8, 9), dtype), np.ones((3, 2, *kernel), dtype)
        assert functional.conv2d(x, w, padding="same").shape == (1, 3, 8, 9)

    def test_zero_padding(self, dtype: np.dtype[Any]) -> None:
        x, w = np.ones((1, 1, 3, 3), dtype), np.ones((1, 1, 3, 3), dtype)
        assert functional.conv2d(x, w, padding=1)[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
        assert functional.pad(x, (1, 1, 1, 1)).sum() == 9

    def test_padding_with_the_adjacent_value(self, dtype: np.dtype[Any]) -> None:
        y = functional.pad(image([[1, 2], [3, 4]], dtype), (1, 1, 1, 1), mode="replicate")
        assert y[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]

    def test_padding_repeats_the_adjacent_value(self, dtype: np.dtype[Any]) -> None:
        x = image([[1, 2], [3, 4]], dtype)
        y = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        assert y[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


class TestPooling:
    def test_minimum_is_the_negated_maximum_of_the_negated(self, dtype: np.dtype[Any]) -> None:
        x = image([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], dtype)
        smallest = functional.min_pool2d(x, 2)
        assert smallest[0, 0].tolist() == [[1.0, 2.0], [1.0, 0.0]]
        np.testing.assert_array_equal(smallest, -functional.max_pool2d(-x, 2))

    def test_max_pool_and_its_gradient(self, dtype: np.dtype[Any]) -> None:
        x = image([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], dtype)
        y, indices = functional.max_pool2d(x, 2, 2, return_indices=True)
        assert y[0, 0].tolist() == [[6, 8], [3, 4]]
        assert indices[0, 0].tolist() == [[5, 7], [8, 15]]
        dx = functional.max_pool2d_grad(np.ones_like(y), indices, x.shape, 2, 2)
        assert dx[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]]

    def test_kinds(self, dtype: np.dtype[Any]) -> None:
        x = image(np.arange(49).reshape(7, 7), dtype)
        assert functional.avg_pool2d(x, 2)[0, 0].tolist() == [[4, 6, 8], [18, 20, 22], [32, 34, 36]]
        overlapping = functional.max_pool2d(x, 3, 2)
        assert overlapping[0, 0].tolist() == [[16, 18, 20], [30, 32, 34], [44, 46, 48]]
        assert functional.adaptive_avg_pool2d(x, 1).tolist() == [[[[24.0]]]]
        for size in (1, 2, 3, (4, 2), 7):
            shape = size if isinstance(size, tuple) else (size, size)
            assert functional.adaptive_avg_pool2d(x, size).shape == (1, 1, *shape)
            assert functional.adaptive_max_pool2d(x, size).shape == (1, 1, *shape)

    def test_flatten(self, dtype: np.dtype[Any]) -> None:
        x = np.arange(2 * 6 * 32 * 32).reshape(2, 6, 32, 32).astype(dtype)
        y = functional.flatten(x, 1)
        assert y.shape == (2, 6144)
        assert (y[1] == x[1].ravel()).all()


class TestActivation:
    def test_derivatives_of_sigmoid_and_tanh(self, dtype: np.dtype[Any]) -> None:
        x = np.linspace(-4, 4, 17).astype(dtype)
        s, t, one = functional.sigmoid(x), functional.tanh(x), np.ones_like(x)
        close(s, 1 / (1 + np.exp(-x.astype(np.float64))), dtype)
        close(functional.sigmoid_grad(one, s), s * (1 - s), dtype)
        close(functional.tanh_grad(one, t), 1 - t**2, dtype)
        assert functional.sigmoid_grad(one, s).max() == 0.25

    def test_relu_family_and_derivative_at_zero(self, dtype: np.dtype[Any]) -> None:
        x = np.array([-2.0, 0.0, 3.0], dtype)
        one = np.ones_like(x)
        assert functional.relu(x).tolist() == [0, 0, 3]
        assert functional.relu_grad(one, x).tolist() == [0, 0, 1]
        close(functional.leaky_relu(x), [-0.02, 0, 3], dtype)
        close(functional.leaky_relu_grad(one, x), [0.01, 0.01, 1], dtype)
        close(functional.leaky_relu_grad(one, x, 0.25), [0.25, 0.25, 1], dtype)

    def test_softmax(self, dtype: np.dtype[Any]) -> None:
        x = np.array([[1.0, 2.0, 3.0, 1.0]], dtype)
        y = functional.softmax(x, 1)
        e = [math.exp(v) for v in (1, 2, 3, 1)]
        close(y, [[v / sum(e) for v in e]], dtype)
        close(y.sum(), 1, dtype)


class TestLoss:
    def test_mean_squared_error(self, dtype: np.dtype[Any]) -> None:
        predicted, target = np.array([70, 120, 100], dtype), np.array([90, 100, 110], dtype)
        close(functional.mse_loss(predicted, target), 300, dtype)

    def test_mean_absolute_error(self, dtype: np.dtype[Any]) -> None:
        predicted, target = np.array([25, 72, 90], dtype), np.array([20, 50, 70], dtype)
        close(functional.l1_loss(predicted, target), 47 / 3, dtype)

    @pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
    def test_huber(self, delta: float, dtype: np.dtype[Any]) -> None:
        e = np.array([-3, -1, -0.25, 0, 0.5, 2.5])
        expected = np.where(abs(e) <= delta, e**2 / 2, delta * abs(e) - delta**2 / 2)
        x, zero = e.astype(dtype), np.zeros(6, dtype)
        close(functional.huber_loss(x, zero, reduction="none", delta=delta), expected, dtype)
        close(functional.huber_loss(x, zero, delta=delta), expected.mean(), dtype)
        close(functional.smooth_l1_loss(x, zero, reduction="none", beta=delta), expected / delta, dtype)

    @pytest.mark.parametrize("delta", [0.5, 2.0])
    def test_pseudo_huber(self, delta: float, dtype: np.dtype[Any]) -> None:
        e = np.array([-3, -1, -0.25, 0, 0.5, 2.5])
        expected = delta**2 * (np.sqrt(1 + (e / delta) ** 2) - 1)
        loss = functional.pseudo_huber_loss(e.astype(dtype), np.zeros(6, dtype), reduction="none", delta=delta)
        close(loss, expected, dtype)

    @pytest.mark.parametrize(("target", "p", "loss"), [(1, 0.7, 0.357), (1, 0.3, 1.204), (0, 0.1, 0.105)])
    def test_binary_cross_entropy(self, target: int, p: float, loss: float, dtype: np.dtype[Any]) -> None:
        t = np.array([target], dtype)
        answer = functional.binary_cross_entropy(np.array([p], dtype), t)
        assert round(float(answer), 3) == loss
        logit = np.array([math.log(p / (1 - p))], dtype)
        close(functional.binary_cross_entropy_with_logits(logit, t), float(answer), dtype)
        to_base_ten = {0.357: 0.155, 1.204: 0.523, 0.105: 0.046}  # as the notes had it
        assert round(float(answer) / math.log(10), 3) == to_base_ten[loss]

    def test_categorical_cross_entropy(self, dtype: np.dtype[Any]) -> None:
        p = np.array([[0.7, 0.2, 0.1]], dtype)
        sparse = functional.cross_entropy(np.log(p), np.array([0]))
        assert round(float(sparse), 3) == 0.357
        one_hot = np.array([[1, 0, 0]], dtype)
        close(-(one_hot * functional.log_softmax(np.log(p), 1)).sum(), float(sparse), dtype)

    def test_hinge(self, dtype: np.dtype[Any]) -> None:
        g, y = np.array([2.0, 0.3, -0.5, 0.0], dtype), np.array([1, 1, 1, -1], dtype)
        close(functional.hinge_loss(g, y, reduction="none"), [0, 0.7, 1.5, 1], dtype)
        close(functional.hinge_loss(g, y), 0.8, dtype)


def hyper(dtype: np.dtype[Any], *values: float) -> Array:
    return np.array([*values, *[0.0] * (8 - len(values))], dtype)


class TestOptimizer:
    def test_momentum_as_an_average(self, dtype: np.dtype[Any]) -> None:
        """m <- b m + (1 - b) g from m = 0: dampening equal to the momentum, no special first step."""
        w, m = np.array([5.0], dtype), np.array([0.0], dtype)
        for gradient, expected_m, expected_w in ((-20.0, -10.0, 6.0), (-7.0, -8.5, 6.85)):
            g = np.array([gradient], dtype)
            functional.sgd_step(w, g, m, hyper(dtype, 0.1, 0), momentum=0.5, dampening=0.5)
            close(m, [expected_m], dtype)
            close(w, [expected_w], dtype)

    def test_adam_with_bias_correction(self, dtype: np.dtype[Any]) -> None:
        rate, b1, b2, eps = 0.1, 0.9, 0.999, 1e-8
        w, m, v = np.array([5.0], dtype), np.zeros(1, dtype), np.zeros(1, dtype)
        expected, first, second = 5.0, 0.0, 0.0
        for t, g in enumerate((-20.0, -7.0, 3.0), start=1):
            step = hyper(dtype, rate, 1 - b1**t, 1 - b2**t)
            functional.adam_step(w, np.array([g], dtype), m, v, step, beta1=b1, beta2=b2, eps=eps)
            first, second = b1 * first + (1 - b1) * g, b2 * second + (1 - b2) * g * g
            expected -= rate * (first / (1 - b1**t)) / (math.sqrt(second / (1 - b2**t)) + eps)
            close(w, [expected], dtype)
            if t == 1:  # whatever the gradient, the first step has the length of the learning rate
                assert w.item() == pytest.approx(5.1, rel=1e-6)

    def test_l2_penalty_is_weight_decay(self, dtype: np.dtype[Any]) -> None:
        """The gradient of decay / 2 * sum(w^2), given to the optimizer as weight_decay or as part of the loss."""
        w, g, decay = np.array([1.0, -3.0], dtype), np.array([0.5, 0.25], dtype), 0.1
        expected = w - 0.2 * (g + decay * w)
        functional.sgd_step(w, g, None, hyper(dtype, 0.2, 1), weight_decay=decay)
        close(w, expected, dtype)

    def test_elastic_net(self, dtype: np.dtype[Any]) -> None:
        """lambda (alpha sum|w| + (1 - alpha) / 2 sum w^2), alpha 1 is L1 and 0 is L2; composed of the losses."""
        w = np.array([[1.0, -2.0], [0.5, 0.0]], dtype)

        def penalty(w: Any, strength: float, alpha: float) -> Any:
            absolute = functional.l1_loss(w, np.zeros((2, 2), dtype), reduction="sum")
            squares = functional.mse_loss(w, np.zeros((2, 2), dtype), reduction="sum")
            share = functional.multiply(squares, (1 - alpha) / 2)
            return functional.multiply(functional.add(functional.multiply(absolute, alpha), share), strength)

        for alpha, expected in ((1.0, 0.1 * 3.5), (0.0, 0.1 * 5.25 / 2), (0.25, 0.1 * (0.25 * 3.5 + 0.375 * 5.25))):
            close(penalty(w, 0.1, alpha), expected, dtype)

            def with_gradient(w: Any, alpha: float = alpha) -> Any:
                trace = graph.current_trace()
                assert trace is not None
                return graph.gradients(trace, penalty(w, 0.1, alpha), [w])[0]

            gradient = graph.run_numpy(graph.trace(with_gradient, [graph.Spec(w.shape, w.dtype)]), [w])
            close(gradient, 0.1 * (alpha * np.sign(w) + (1 - alpha) * w), dtype)


class TestBatchNormalization:
    def test_formula(self, dtype: np.dtype[Any]) -> None:
        rng = np.random.default_rng(0)
        x = (rng.standard_normal((8, 3, 5, 4)) * 3 + 1).astype(dtype)
        gamma, beta = rng.standard_normal((2, 3)).astype(dtype)
        running_mean, running_var = np.zeros(3, dtype), np.ones(3, dtype)
        y = functional.batch_norm(x, running_mean, running_var, gamma, beta, training=True, momentum=0.1, eps=1e-5)
        for c in range(3):
            values = x[:, c].astype(np.float64)
            mean, var = values.mean(), values.var()
            close(y[:, c], gamma[c] * (values - mean) / np.sqrt(var + 1e-5) + beta[c], dtype)
            close(running_mean[c], 0.1 * mean, dtype)
            close(running_var[c], 0.9 + 0.1 * values.var(ddof=1), dtype)
        y = functional.batch_norm(x, running_mean, running_var, gamma, beta)
        column = (slice(None), None, None)
        expected = gamma[column] * (x - running_mean[column]) / np.sqrt(running_var[column] + 1e-5) + beta[column]
        close(y, expected, dtype)


def test_gradients_against_torch() -> None:
    """The losses above, backward, where PyTorch has them too."""
    torch = oracle.torch_or_skip()
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    p, label = rng.uniform(0.05, 0.95, (4, 3)), rng.integers(0, 2, (4, 3)).astype(np.float64)
    cases = [
        ("mse_loss", x, t),
        ("l1_loss", x, t),
        ("huber_loss", x, t),
        ("smooth_l1_loss", x, t),
        ("binary_cross_entropy", p, label),
        ("binary_cross_entropy_with_logits", x, label),
        ("binary_cross_entropy_with_logits", np.array([0.0, 0.0, 80.0, -80.0]), np.array([0.0, 1.0, 0.0, 1.0])),
        ("binary_cross_entropy", np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        ("l1_loss", np.zeros(2), np.zeros(2)),
    ]
    for name, a, b in cases:
        ta = torch.tensor(a, requires_grad=True)
        getattr(torch.nn.functional, name)(ta, torch.tensor(b)).backward()

        def loss_and_gradient(x: Any, target: Any, name: str = name) -> Any:
            loss = getattr(functional, name)(x, target)
            trace = graph.current_trace()
            assert trace is not None
            return loss, graph.gradients(trace, loss, [x])[0]

        traced = graph.trace(loss_and_gradient, [graph.Spec(v.shape, v.dtype) for v in (a, b)])
        _, gradient = graph.run_numpy(traced, [a, b])
        np.testing.assert_allclose(gradient, ta.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
