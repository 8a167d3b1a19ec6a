# SPDX-License-Identifier: BSD-3-Clause
"""`train.Classifier` among scikit-learn's tools, and the recipes of transfer learning."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from cnnkern import data, models, nn, train

RNG = np.random.default_rng(11)
X = RNG.standard_normal((120, 6), dtype=np.float32)
Y = np.where(X[:, 0] + X[:, 1] > 0, "up", "down")


def mlp(**settings: Any) -> train.Classifier:
    return train.Classifier(models.mlp, **{"in_features": 6, "hidden": (8,), "lr": 0.02, **settings})


# --- Classifier ---------------------------------------------------------------------------------------------------


def test_fit_predict_and_score() -> None:
    classifier = mlp().fit(X, Y)
    assert classifier.classes_.tolist() == ["down", "up"] and len(classifier.history_.epoch) == 10
    shares = classifier.predict_proba(X)
    np.testing.assert_allclose(shares.sum(1), 1.0)
    assert (classifier.predict(X) == classifier.classes_[shares.argmax(1)]).all()
    assert classifier.score(X, Y) == np.mean(classifier.predict(X) == Y) > 0.9
    np.testing.assert_array_equal(mlp().fit(X.astype(np.float64), Y).predict_proba(X), shares)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), shares)
    assert "Classifier(mlp, epochs=10" in repr(classifier)


def test_parameters() -> None:
    classifier = mlp(optimizer=train.SGD(0.1, 0.9))
    assert classifier.get_params()["hidden"] == (8,) and classifier.get_params()["batch_size"] == 32
    assert classifier.set_params(hidden=(4,), epochs=2, lr=0.5) is classifier
    classifier.fit(X, Y)
    assert len(classifier.history_.epoch) == 2 and classifier.model_[1].weight.shape == (4, 6)
    assert classifier.optimizer.steps == 0 and classifier.optimizer.lr == 0.1  # a copy was used
    same = mlp(optimizer=train.SGD(0.1, 0.9), hidden=(4,), epochs=2, lr=0.5).fit(X, Y)
    np.testing.assert_array_equal(same.predict_proba(X), classifier.fit(X, Y).predict_proba(X))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mlp().predict(X), AttributeError, "Classifier: call fit first"),
        (lambda: mlp().fit(X, X), ValueError, r"y must hold labels \(N,\), found shape \(120, 6\)"),
        (lambda: mlp().fit(X, Y[:-1]), ValueError, "equally many examples"),
        (lambda: mlp(optimizer="lamb").fit(X, Y), ValueError, "optimizer must be one of"),
        (lambda: mlp(depth=3).fit(X, Y), TypeError, "depth"),
        (lambda: train.Classifier("mlp").fit(X, Y), TypeError, "builder must be a function that makes a model"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_does_not_fit(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_scikit_learn_searches_and_validates() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

    classifier = mlp(epochs=5)
    assert is_classifier(classifier)
    twin = clone(classifier)
    assert twin is not classifier and twin.get_params() == classifier.get_params()
    scores = cross_val_score(classifier, X, Y, cv=3)
    assert scores.shape == (3,) and scores.mean() > 0.8
    assert cross_val_predict(classifier, X, Y, cv=3, method="predict_proba").shape == (120, 2)
    search = GridSearchCV(classifier, {"lr": [1e-6, 0.05], "hidden": [(2,), (8,)]}, cv=3).fit(X, Y)
    assert search.best_params_["lr"] == 0.05 and search.best_estimator_.score(X, Y) == search.score(X, Y) > 0.85
    digits = data.digits()
    chosen = np.arange(300)
    course = train.Classifier(models.course_cnn, image_size=8, epochs=3, lr=0.005)
    assert cross_val_score(course, digits.images[chosen], digits.labels[chosen], cv=3).mean() > 0.85


# --- Transfer learning --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tasks() -> tuple[Any, Any, Any]:
    """A network that knows ten digits from 1,200 images; 60 others as odd or even; all others, held out."""
    images, labels = data.digits()
    model = models.course_cnn(image_size=8, seed=0)
    train.fit(model, (images[:1200], labels[:1200]), epochs=10, optimizer="adam", seed=0, progress=False)
    odd = labels % 2
    return model, (images[1200:1260], odd[1200:1260]), (images[1260:], odd[1260:])


EPOCHS, BATCH = 2, 10


def from_scratch(tasks: Any, lr: float) -> float:
    _, few, rest = tasks
    model = models.course_cnn(2, image_size=8, seed=1)
    train.fit(model, few, epochs=EPOCHS, batch_size=BATCH, optimizer=train.Adam(lr), seed=0, progress=False)
    return train.evaluate(model, rest)["accuracy"]


RECIPES: list[tuple[str | list[str], float, str]] = [
    ("head", 5e-3, "conv1 bn1 conv2 bn2"),
    (["conv2", "bn2"], 1e-3, "conv1 bn1"),
    ("all", 1e-3, ""),
]


@pytest.mark.parametrize(("unfreeze", "lr", "frozen"), RECIPES)
def test_transfer_learns_faster_than_from_scratch(
    unfreeze: str | list[str], lr: float, frozen: str, tasks: Any
) -> None:
    source, few, rest = tasks
    scratch = max(from_scratch(tasks, rate) for rate in (1e-3, 5e-3))
    model = copy.deepcopy(source)
    options: dict[str, Any] = {"batch_size": BATCH, "optimizer": train.Adam(lr), "progress": False}
    train.transfer(model, few, rest, num_classes=2, unfreeze=unfreeze, epochs=EPOCHS, **options)
    accuracy = train.evaluate(model, rest)["accuracy"]
    print(f"{unfreeze}: {accuracy:.1%} after {EPOCHS} epochs on {len(few[0])} examples, from scratch {scratch:.1%}")
    assert accuracy > scratch + 0.03
    before = source.state_dict()
    for key, array in model.state_dict().items():
        if not key.startswith("fc"):
            assert np.array_equal(array, before[key]) == (key.split(".")[0] in frozen.split()), key


def test_features_are_what_the_head_gets(tasks: Any) -> None:
    model, few, _ = tasks
    values, targets = train.features(model, few, batch_size=16)
    assert values.shape == (60, model.fc.in_features) and (targets == few[1]).all()
    np.testing.assert_allclose(model.fc(values), train.predict(model, few[0]), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_transferred(tasks: Any) -> None:
    model, few, _ = tasks
    with pytest.raises(ValueError, match="Linear has no head"):
        train.transfer(nn.Linear(6, 2), (X, Y))
    with pytest.raises(ValueError, match="no module named 'layer4'; there are conv1, bn1"):
        train.transfer(copy.deepcopy(model), few, unfreeze=["layer4"])
    with pytest.raises(ValueError, match='unfreeze must be "head", "all" or a list of names'):
        train.transfer(copy.deepcopy(model), few, unfreeze="conv2")
