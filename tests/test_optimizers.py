# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers against PyTorch: steps, clipping, groups, schedules, penalties; single steps by `Trainer`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip

import cnnkern
from cnnkern import functional, models, nn, train

RNG = np.random.default_rng(11)
X = RNG.standard_normal((50, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)


def small(seed: int = 0) -> Any:
    return models.mlp(6, (16,), 2, activation="tanh", seed=seed)


def fitted(model: Any, **options: Any) -> train.History:
    settings = {"epochs": 2, "batch_size": 16, "optimizer": train.SGD(0.1, 0.9), "seed": 3, "progress": False}
    return train.fit(model, options.pop("train_data", (X, Y)), **{**settings, **options})


def twins() -> tuple[Any, Any, Any]:
    """PyTorch, a model, and the same in PyTorch."""
    torch = torch_or_skip()
    model = small()
    twin = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    twin.load_state_dict({key: torch.from_numpy(array) for key, array in model.state_dict().items()})
    return torch, model, twin


def assert_like(model: Any, twin: Any) -> None:
    for key, parameter in twin.named_parameters():
        found = dict(model.named_parameters())[key]
        np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=2e-4, atol=2e-6, err_msg=key)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.02}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3}),
    ("Adagrad", {"lr": 0.05}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.1, "weight_decay": 0.02, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.8, "weight_decay": 0.02}),
]
OURS = {"Adagrad": "AdaGrad", "RMSprop": "RMSProp"}


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_steps_are_those_of_pytorch(name: str, options: dict[str, Any]) -> None:
    torch, model, twin = twins()
    optimizer, theirs = (
        getattr(train, OURS.get(name, name))(**options),
        getattr(torch.optim, name)(twin.parameters(), **options),
    )
    losses = []
    for epoch in range(3):
        optimizer.lr = theirs.param_groups[0]["lr"] = options["lr"] / (1 + epoch)
        for start in range(0, 48, 16):
            loss = torch.nn.functional.cross_entropy(
                twin(torch.from_numpy(X[start : start + 16])), torch.from_numpy(Y[start : start + 16])
            )
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            losses.append(loss.item())
        history = fitted(
            model,
            train_data=(X[:48], Y[:48]),
            epochs=epoch + 1,
            initial_epoch=epoch,
            optimizer=optimizer,
            shuffle=False,
        )
        assert history.history["loss"] == pytest.approx([np.mean(losses[-3:])], rel=1e-5)
    assert_like(model, twin)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train.SGD(-1), "SGD: lr must be finite, at least 0, found -1"),
        (lambda: train.SGD(float("nan")), "SGD: lr must be finite, at least 0, found nan"),
        (lambda: train.SGD(0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: train.Adam(betas=(0.9, 1.0)), r"betas must lie in \[0, 1\)"),
        (lambda: train.AdamW(eps=-1), "AdamW: eps must be finite, at least 0"),
        (lambda: train.RMSProp(alpha=1.5), r"RMSProp: alpha must be in 0 .. 1, found 1.5"),
        (lambda: train.AdaGrad(lr_decay=-1), "AdaGrad: lr_decay must be finite, at least 0"),
        (lambda: train.SGD(clip_norm=-1), "SGD: clip_norm must be finite, at least 0"),
        (lambda: train.SGD(groups={"1": {"rate": 1.0}}), "a setting of a group must be one of lr, .*found 'rate'"),
        (lambda: train.SGD(0.0, groups={"1": {"lr": 1.0}}), "give lr_scale instead of lr"),
        (lambda: fitted(small(), optimizer=train.SGD(lambda step: -1.0 * step - 1.0)), "lr must be finite, at least 0"),
        (lambda: train.L1(-1), "L1: strength must be finite, at least 0"),
        (lambda: train.ElasticNet(1, 2), "ElasticNet: alpha must be in 0 .. 1"),
        (lambda: fitted(small(), optimizer="lamb"), "one of sgd, .*rmsprop.*, found 'lamb'"),
        (lambda: fitted(small(), loss="energy"), "one of .*cross_entropy.*, found 'energy'"),
    ],
)
def test_settings_are_checked(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_optimizer_belongs_to_one_model() -> None:
    optimizer = train.Adam()
    fitted(small(), optimizer=optimizer)
    with pytest.raises(ValueError, match="belongs to another model"):
        fitted(small(), optimizer=optimizer)


# --- Clipping, groups, schedules, penalties -----------------------------------------------------------------------


def steps_of_both(
    optimizer: train.Optimizer, make: Any, change: Any = lambda torch, twin: None, penalty: Any = None, own: Any = None
) -> None:
    """Six single steps here and in PyTorch; `change` acts on PyTorch's gradients, `penalty` adds to its loss."""
    torch, model, twin = twins()
    theirs = make(torch, twin)
    trainer = train.Trainer(model, optimizer=optimizer, regularization=own)
    for start in range(0, 48, 8):
        x, y = X[start : start + 8], Y[start : start + 8]
        loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y))
        if penalty is not None:
            loss = loss + penalty(twin)
        theirs.zero_grad()
        loss.backward()
        change(torch, twin)
        theirs.step()
        assert trainer.step(x, y) == pytest.approx(loss.item(), rel=1e-5)
    assert_like(model, twin)


def sgd(torch: Any, twin: Any) -> Any:
    return torch.optim.SGD(twin.parameters(), 0.5, 0.9)


def test_gradients_are_clipped_by_value() -> None:
    def clip(torch: Any, twin: Any) -> None:
        torch.nn.utils.clip_grad_value_(twin.parameters(), 0.01)

    steps_of_both(train.SGD(0.5, 0.9, clip_value=0.01), sgd, clip)


@pytest.mark.parametrize("limit", [0.05, 100.0])
def test_gradients_are_clipped_by_their_norm(limit: float) -> None:
    def clip(torch: Any, twin: Any) -> None:
        torch.nn.utils.clip_grad_norm_(twin.parameters(), limit)

    steps_of_both(train.SGD(0.5, 0.9, clip_norm=limit), sgd, clip)


def test_groups_have_rates_and_decays_of_their_own() -> None:
    def make(torch: Any, twin: Any) -> Any:
        first, last = twin[1], twin[3]
        return torch.optim.Adam(
            [
                {"params": [first.weight], "lr": 0.001},
                {"params": [first.bias], "lr": 0.001},
                {"params": [last.bias], "lr": 0.02, "weight_decay": 0.0},
                {"params": [last.weight], "lr": 0.02},
            ],
            weight_decay=0.1,
        )

    groups = {"1": {"lr": 0.001}, "*.bias": {"weight_decay": 0.0}}
    steps_of_both(train.Adam(0.02, weight_decay=0.1, groups=groups), make)


def test_a_schedule_is_followed_step_by_step() -> None:
    def make(torch: Any, twin: Any) -> Any:
        optimizer = torch.optim.SGD(twin.parameters(), 0.5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
        rates = []

        class Both:
            zero_grad = staticmethod(optimizer.zero_grad)

            @staticmethod
            def step() -> None:
                optimizer.step()
                rates.append(optimizer.param_groups[0]["lr"])
                if len(rates) < 5:
                    schedule.step()

        return Both

    optimizer = train.SGD(train.schedule.Cosine(0.5, 4))
    steps_of_both(optimizer, make)
    assert optimizer.lr == 0.0


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_elastic_net(alpha: float) -> None:
    def penalty(twin: Any) -> Any:
        weights = [parameter for parameter in twin.parameters() if parameter.ndim > 1]
        return sum(0.01 * (alpha * w.abs().sum() + (1 - alpha) / 2 * w.square().sum()) for w in weights)

    kinds = {0.0: train.L2(0.01), 1.0: train.L1(0.01)}
    steps_of_both(train.SGD(0.5, 0.9), sgd, penalty=penalty, own=kinds.get(alpha, train.ElasticNet(0.01, alpha)))


def test_l1_makes_weights_vanish_that_do_not_matter() -> None:
    x = RNG.standard_normal((200, 6), dtype=np.float32)
    y = x[:, :1] * 2 - x[:, 1:2]
    model = nn.Linear(6, 1, rng=0)
    options: dict[str, Any] = {"loss": "mse", "metrics": [], "epochs": 60, "optimizer": train.SGD(0.05)}
    fitted(model, train_data=(x, y), regularization=train.L1(0.1), **options)
    assert abs(model.weight[0, 2:]).max() < 0.02 and abs(model.weight[0, :2]).min() > 0.8


# --- Trainer ------------------------------------------------------------------------------------------------------


def test_trainer_and_fit_take_the_same_steps() -> None:
    first, second = small(), small()
    history = fitted(first, epochs=1, batch_size=50, shuffle=False)
    trainer = train.Trainer(second, loss="cross_entropy", optimizer=train.SGD(0.1, 0.9), seed=3)
    assert trainer.step(X, Y) == history.history["loss"][0]
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name])


def test_a_step_that_does_not_fit_changes_nothing() -> None:
    model = small()
    trainer = train.Trainer(model, optimizer="adam")
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"equally many examples, found \(8, 6\), \(7,\)"):
        trainer.step(X[:8], Y[:7])
    with pytest.raises(ValueError, match=r"targets must lie in 0..1, found 2"):
        trainer.step(X, Y + 1)
    with pytest.raises(TypeError, match=r"use .astype\(np.float32\)"):
        trainer.step(X.astype(np.float64), Y)
    assert trainer.optimizer.steps == 0
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    twin = small()
    assert trainer.step(X, Y) == train.Trainer(twin, optimizer="adam").step(X, Y)


def test_losses_by_name_object_and_function_are_the_same() -> None:
    given = ["sparse_categorical_cross_entropy", nn.CrossEntropyLoss(), functional.cross_entropy]
    assert len({train.Trainer(small(), loss).step(X, Y) for loss in given}) == 1
    smooth = train.Trainer(small(), nn.CrossEntropyLoss(label_smoothing=0.1)).step(X, Y)
    assert smooth == pytest.approx(float(functional.cross_entropy(small()(X), Y, label_smoothing=0.1)), rel=1e-6)


@pytest.mark.parametrize(("name", "share"), [("googlenet", 0.3), ("inception_v3", 0.4)])
def test_auxiliary_heads_count_by_default(name: str, share: float) -> None:
    class Heads(nn.Module):
        """The outputs of the network with all but the heads left out: they are what the loss sees."""

        def __init__(self) -> None:
            self.layer = nn.Linear(6, 2, rng=0)

        def forward(self, input: Any) -> Any:
            logits = self.layer(input)
            kinds = {"googlenet": models.googlenet, "inception_v3": models.inception_v3}
            module = __import__(kinds[name].__module__, fromlist=["x"])
            outputs = getattr(module, "GoogLeNetOutputs" if name == "googlenet" else "InceptionOutputs")
            return outputs(logits, *[logits * 0.5] * (len(outputs._fields) - 1))

    model = Heads()
    count = 2 if name == "googlenet" else 1
    logits = model.layer(X)
    expected = functional.cross_entropy(logits, Y) + share * count * functional.cross_entropy(logits * 0.5, Y)
    for loss in ("cross_entropy", nn.CrossEntropyLoss()):
        value, _ = cnnkern.value_and_grad(model, loss)(X, Y)
        assert value == pytest.approx(float(expected), rel=1e-6)
