"""Variants with a distance or a kernel: neighbours, densities, support vectors, processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, Birch
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import (
    BallTree,
    KDTree,
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestCentroid,
    NearestNeighbors,
    RadiusNeighborsClassifier,
)
from sklearn.svm import SVC, SVR, NuSVC, OneClassSVM

from deployments.intake.derivation.specimen import Specimen, data, fitted

_DENSITIES = ("gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine")


def neighbours() -> Iterator[Specimen]:
    """Neighbour models over every metric of both trees, brute force and sparse rows."""
    yield from _trees()
    yield from _densities()
    d = data()
    yield fitted(KNeighborsClassifier(weights="distance"), d.x, d.labels, note="labels")
    yield fitted(KNeighborsClassifier(), d.x, d.multilabel, note="multilabel")
    yield fitted(KNeighborsClassifier(metric="cosine"), d.x, d.three, note="cosine")
    yield fitted(KNeighborsRegressor(algorithm="kd_tree", p=1), d.x, d.numbers, note="p1")
    yield fitted(KNeighborsRegressor(), sparse.csr_matrix(d.x), d.numbers, note="sparse")
    yield fitted(KNeighborsClassifier(), d.x.astype(np.float32), d.three, note="float32")
    yield fitted(RadiusNeighborsClassifier(5.0, outlier_label=0), d.x, d.binary, note="outlier")
    yield fitted(LocalOutlierFactor(novelty=True), d.x, note="novelty")
    yield fitted(NearestCentroid(shrink_threshold=0.1), d.x, d.labels, note="labels")
    yield fitted(NearestNeighbors(algorithm="ball_tree"), d.x, note="ball")
    yield fitted(DBSCAN(eps=1.0, metric="manhattan"), d.x, note="manhattan")
    yield fitted(HDBSCAN(copy=True, store_centers="both"), d.x, note="centers")
    yield fitted(AgglomerativeClustering(3, compute_distances=True), d.x, note="distances")
    yield fitted(Birch(threshold=0.2, n_clusters=3), d.x, note="small")


def _trees() -> Iterator[Specimen]:
    d = data()
    for algorithm, tree in (("kd_tree", KDTree), ("ball_tree", BallTree)):
        for metric in tree.valid_metrics:
            if metric == "pyfunc":
                continue
            x: Any = np.abs(d.x) if metric in {"braycurtis", "canberra"} else d.x
            if metric in {"dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath"}:
                x = d.x > 0
            yield fitted(
                KNeighborsClassifier(
                    3, algorithm=algorithm, metric=metric, metric_params=_params(metric)
                ),
                d.x[:, :2] if metric == "haversine" else x,
                d.three,
                note=f"{algorithm}-{metric}",
            )


def _params(metric: str) -> dict[str, Any] | None:
    d = data()
    if metric == "seuclidean":
        return {"V": d.x.var(axis=0)}
    if metric == "mahalanobis":
        return {"V": np.cov(d.x.T)}
    return {"p": 3} if metric in {"minkowski", "p"} else None


def _densities() -> Iterator[Specimen]:
    d = data()
    for kernel in _DENSITIES:
        yield fitted(KernelDensity(kernel=kernel), d.x, note=kernel)
    yield fitted(KernelDensity(algorithm="ball_tree"), d.x, note="ball")


def vectors() -> Iterator[Specimen]:
    """Support vectors and kernel methods, each kernel, dense and sparse."""
    d = data()
    for kernel in ("linear", "poly", "rbf", "sigmoid"):
        yield fitted(SVC(kernel=kernel), d.x, d.three, note=kernel)
        yield fitted(SVR(kernel=kernel), d.x, d.numbers, note=kernel)
        yield fitted(KernelRidge(kernel=kernel), d.x, d.numbers, note=kernel)
        yield fitted(Nystroem(kernel, n_components=5, random_state=0), d.x, note=kernel)
    yield fitted(SVC(kernel="precomputed"), d.x @ d.x.T, d.three, note="precomputed")
    yield fitted(SVC(probability=True, random_state=0), d.x, d.labels, note="probability")
    yield fitted(SVC(decision_function_shape="ovo"), d.x, d.three, note="ovo")
    yield fitted(SVC(class_weight="balanced"), sparse.csr_matrix(d.x), d.three, note="sparse")
    yield fitted(NuSVC(nu=0.2), sparse.csr_matrix(d.x), d.binary, note="sparse")
    yield fitted(OneClassSVM(), sparse.csr_matrix(d.x), note="sparse")


def processes() -> Iterator[Specimen]:
    """Gaussian processes over each kernel and ways to combine them."""
    d = data()
    every = (
        kernels.ConstantKernel() * kernels.RBF(),
        kernels.Matern(nu=2.5) + kernels.WhiteKernel(),
        kernels.RationalQuadratic(),
        kernels.ExpSineSquared(),
        kernels.DotProduct() ** 2,
        kernels.PairwiseKernel(metric="rbf"),
        kernels.RBF(np.ones(d.x.shape[1])),
    )
    for number, kernel in enumerate(every):
        yield fitted(
            GaussianProcessRegressor(kernel, alpha=10.0, optimizer=None),
            d.x,
            d.numbers,
            note=f"kernel-{number}",
        )
    yield fitted(GaussianProcessClassifier(kernels.RBF()), d.x, d.three, note="three")
    yield fitted(
        GaussianProcessClassifier(multi_class="one_vs_one"), d.x, d.three, note="one-vs-one"
    )
    yield fitted(GaussianProcessRegressor(normalize_y=True), d.x, d.numbers, note="normalised")
