"""
Parameters that change what a model does to the machine and nothing about its answers.

``n_jobs`` and thread counts, ``memory`` (a path to write to), ``verbose`` and ``warm_start`` are
set to their quiet values on every estimator of the model, however deep.
"""

from typing import Any

from sklearn.base import BaseEstimator


def neutralise(instances: list[Any]) -> list[str]:
    """Quieten every estimator; returns the names of parameters that were not quiet before."""
    changed: dict[str, None] = {}
    for instance in instances:
        if isinstance(instance, BaseEstimator):
            for name in _quieten(instance.__dict__):
                changed[name] = None
    return list(changed)


def _quieten(attributes: dict[str, Any]) -> list[str]:
    changed = []
    if attributes.get("n_jobs") is not None:
        attributes["n_jobs"] = None
        changed.append("n_jobs")
    if "_n_threads" in attributes:
        attributes["_n_threads"] = 1
    if attributes.get("memory") is not None:
        attributes["memory"] = None
        changed.append("memory")
    if "verbose" in attributes:
        if attributes["verbose"]:
            changed.append("verbose")
        attributes["verbose"] = False if type(attributes["verbose"]) is bool else 0
    if "warm_start" in attributes:
        attributes["warm_start"] = False
    return changed
