"""
The demonstration model: an iris pipeline, trained on the spot, written to a file.

A program of its own (``python -m serve_app.cli.demonstration FILE``), so that the launcher, which
stays for as long as the platform does, never loads scikit-learn.
"""

import sys
from pathlib import Path

MODEL = "iris"
#: A row of the class "setosa".
ROW = [5.1, 3.5, 1.4, 0.2]


def train(path: Path) -> None:
    """Fit the pipeline and write it to ``path`` in skops format."""
    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    iris = load_iris()
    labels = iris.target_names[iris.target]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(iris.data, labels)
    skops.io.dump(model, path)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
