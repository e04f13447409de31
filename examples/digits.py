"""Model serving: a scikit-learn classifier behind a function, called with batches (as funcX's DLHub does).

    python examples/digits.py

Trains on half of scikit-learn's bundled handwritten digits on the endpoint, classifies the other half there,
and prints the accuracy.
"""

from __future__ import annotations

import bursa
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

BATCH = 16


def train(images: np.ndarray, labels: np.ndarray) -> SVC:
    """A support vector classifier fitted to flattened 8x8 images."""
    return SVC(gamma=0.001).fit(images, labels)


def main() -> None:
    digits = load_digits()
    images, unseen, labels, truth = train_test_split(digits.data, digits.target, test_size=0.5, shuffle=False)
    with bursa.Executor() as executor:
        model = executor.submit(train, images, labels).result()

        def classify(batch: np.ndarray) -> np.ndarray:
            return model.predict(batch)

        batches = [unseen[start : start + BATCH] for start in range(0, len(unseen), BATCH)]
        predicted = np.concatenate(list(executor.map(classify, batches)))
    accuracy = (predicted == truth).mean()
    print(f"{len(truth)} digits in {len(batches)} batched calls: {accuracy:.1%} right")
    if accuracy < 0.9:
        raise SystemExit("that is not the model it should be")


if __name__ == "__main__":
    main()
