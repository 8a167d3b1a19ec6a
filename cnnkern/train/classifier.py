# SPDX-License-Identifier: BSD-3-Clause
"""`Classifier`: a network in scikit-learn's manner, for its cross-validation and searches. It needs no scikit-learn."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cnnkern.functional import _check as check
from cnnkern.nn.module import Module
from cnnkern.train.callback import Callback, History
from cnnkern.train.fit import fit, predict
from cnnkern.train.loss import LossFunction
from cnnkern.train.optim import Optimizer
from cnnkern.train.optimizers import OPTIMIZERS
from cnnkern.train.regularization import ElasticNet

Array = npt.NDArray[Any]
_OWN = ("builder", "epochs", "batch_size", "optimizer", "lr", "loss", "regularization", "callbacks", "seed", "verbose")


class Classifier:
    """A network that `fit` builds and trains anew: `Classifier(models.course_cnn, image_size=8, epochs=10).fit(X, y)`.

    Args:
        builder: function that makes the model, such as `models.course_cnn`. It gets `settings`, and `num_classes` and
            `seed` where it takes them and they are not set.
        epochs, batch_size, loss, regularization: as of `train.fit`.
        optimizer: a name, or an `Optimizer`, of which every `fit` takes a fresh copy.
        lr: its learning rate; None: its own.
        callbacks: every `fit` takes copies.
        seed: of initial values, shuffling and dropout.
        verbose: show the progress.
        settings: of the builder.

    Attributes:
        model_: the trained network; `history_`: of its training; `classes_`: the labels, sorted.
    """

    model_: Module
    history_: History
    classes_: Array
    _estimator_type = "classifier"

    def __init__(
        self,
        builder: Callable[..., Module],
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: str | Optimizer = "adam",
        lr: float | None = None,
        loss: str | LossFunction = "cross_entropy",
        regularization: ElasticNet | None = None,
        callbacks: Sequence[Callback] = (),
        seed: int = 0,
        verbose: bool = False,
        **settings: Any,
    ) -> None:
        self.builder, self.epochs, self.batch_size = builder, epochs, batch_size
        self.optimizer, self.lr, self.loss, self.regularization = optimizer, lr, loss, regularization
        self.callbacks, self.seed, self.verbose = callbacks, seed, verbose
        self.settings = settings

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All arguments, those of the builder included."""
        return {**{name: getattr(self, name) for name in _OWN}, **self.settings}

    def set_params(self, **params: Any) -> Self:
        """Change arguments; the next `fit` uses them. Returns the classifier."""
        for name, value in params.items():
            if name in _OWN:
                setattr(self, name, value)
            else:
                self.settings[name] = value
        return self

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Build the model and train it.

        Args:
            X: (N, ...) examples as the model takes them, float32 or bytes (taken as byte / 255); float64 is converted.
            y: (N,) labels of any kind that can be sorted.

        Raises:
            TypeError, ValueError: arrays or arguments that do not fit.
        """
        labels = np.asarray(y)
        if labels.ndim != 1 or not len(labels):
            raise ValueError(f"Classifier.fit: y must hold labels (N,), found shape {labels.shape}")
        self.classes_, targets = np.unique(labels, return_inverse=True)
        self.model_ = self._build(len(self.classes_))
        self.history_ = fit(
            self.model_,
            (_examples(X), targets.astype(np.int32)),
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self._optimizer(),
            loss=self.loss,
            callbacks=copy.deepcopy(list(self.callbacks)),
            regularization=self.regularization,
            seed=self.seed,
            progress=self.verbose,
        )
        return self

    def _build(self, classes: int) -> Module:
        if not callable(self.builder):
            raise TypeError(
                f"Classifier: builder must be a function that makes a model, found {type(self.builder).__name__}"
            )
        taken = inspect.signature(self.builder).parameters
        given = {"num_classes": classes, "seed": self.seed}
        return self.builder(**{name: value for name, value in given.items() if name in taken} | self.settings)

    def _optimizer(self) -> Optimizer:
        if not isinstance(self.optimizer, Optimizer):
            kind = OPTIMIZERS[check.choice("Classifier", "optimizer", self.optimizer, tuple(OPTIMIZERS))]
            return kind() if self.lr is None else kind(lr=self.lr)
        optimizer = copy.deepcopy(self.optimizer)
        if self.lr is not None:
            optimizer.lr = check.finite("Classifier", "lr", self.lr, 0.0)
        return optimizer

    def decision_function(self, X: npt.ArrayLike) -> Array:
        """(N, classes): what the model's head gives, in the order of `classes_`."""
        if not hasattr(self, "model_"):
            raise AttributeError("Classifier: call fit first")
        outputs = predict(self.model_, _examples(X), self.batch_size)
        if not isinstance(outputs, np.ndarray) or outputs.shape[1:] != (len(self.classes_),):
            found = getattr(outputs, "shape", type(outputs).__name__)
            raise ValueError(f"Classifier: the model must give (N, {len(self.classes_)}), found {found}")
        return outputs

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """(N, classes): softmax of the outputs, in the order of `classes_`."""
        scores = self.decision_function(X).astype(np.float64)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))

    def predict(self, X: npt.ArrayLike) -> Array:
        """(N,) labels."""
        answers = self.decision_function(X).argmax(1)
        return np.asarray(self.classes_[answers])

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """The share of right answers."""
        return float((self.predict(X) == np.asarray(y)).mean())

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.get_params().items() if name != "builder"}
        name = getattr(self.builder, "__name__", repr(self.builder))
        return f"Classifier({', '.join([name, *(f'{key}={value!r}' for key, value in shown.items())])})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator about itself."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )


def _examples(X: npt.ArrayLike) -> Array:
    array = np.asarray(X)
    return array.astype(np.float32) if array.dtype == np.float64 else array
