"""The classifier two-sample test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import trilemma

from .samples import DrawsConfig, check_pair
from .two_sample import TwoSample

Array = NDArray[np.float64]


def classifier_auc(*, real: Array, generated: Array, folds: int = 3) -> float:
    """Cross-validated area under the ROC curve of a classifier that tells generated from real points, each `(n, d)`.

    0.5 means that the classifier cannot tell them apart, 1 that it always can (Lopez-Paz & Oquab 2017). The classifier
    is an ensemble of small gradient-boosted trees. Raises DataError or DivergedError for sets that cannot be compared.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    check_pair(real, generated)
    # The points are sorted, so that the folds do not depend on the order in which they are given.
    x = np.concatenate([points[np.lexsort(points.T)] for points in (real, generated)])
    y = np.repeat([0, 1], [len(real), len(generated)])
    areas = []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y):
        forest = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0)
        scores = forest.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        areas.append(roc_auc_score(y[test], scores))
    return float(np.mean(areas))


class C2st(TwoSample):
    """Classifier two-sample test: how well a classifier tells samples from real points; 0.5 is chance, 1 is always."""

    name = "c2st"
    symmetric = True
    floor_budget = 0  # a classifier takes long, so the floor has as few sets as there are draws
    quantities = (trilemma.Quantity(name="c2st_auc", title="C2ST AUC", group="quality", place="more"),)

    class Config(DrawsConfig):
        """Sizes of the sample sets."""

        n: int = Field(1000, ge=10, description="points per sample set; fewer where the held-out data has fewer")
        draws: int = Field(4, ge=2, description="independent sample sets drawn from the model")
        folds: int = Field(3, ge=2, description="folds of the cross-validation")

    def compare(self, real: Array, generated: Array, evaluation: trilemma.Evaluation) -> Mapping[str, float]:
        return {"c2st_auc": classifier_auc(real=real, generated=generated, folds=self.config.folds)}
