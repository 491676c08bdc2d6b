"""A detector of a new category in a dozen lines, in a notebook or a script: no Ray, no workspace, no recipe.

    python examples/train_a_detector.py model.sppnet

`model.sppnet` is what `sppnet export RECIPE STEP model.sppnet` wrote: its convolutions are used, its categories are
not. The same stands in `train_a_detector.ipynb`, which `make_notebooks.py` writes from this script's cells.
"""

# %% A trained network, and some images with boxes of what is wanted: here drawn, in your work your own.
from __future__ import annotations

import sys

import numpy as np
from PIL import Image, ImageDraw

import sppnet
from sppnet.boxes import iou_matrix, nms
from sppnet.detection.feature_scale import feature_scale
from sppnet.detection.svm import LinearSvms
from sppnet.detection.svm_training import train_svm

CATEGORY = "ring"
TRAINED, TRIED = 10, 5


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image with one ring in it: uint8 `[H, W, 3]`, and its box."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(90, 170, (8, 10, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    radius = int(rng.integers(22, 40))
    x, y = rng.integers(radius + 2, 198 - radius), rng.integers(radius + 2, 158 - radius)
    rows, columns = np.mgrid[:160, :200]
    image[abs(np.hypot(columns - x, rows - y) - radius + 5) < 5] = (210, 40, 40)
    return image, np.array([[x - radius, y - radius, x + radius, y + radius]], np.float32)


# %% The dozen lines: features of the objects and of windows that are none; one linear SVM, with a round of hard ones.
def train(model: sppnet.Model, images: list[tuple[np.ndarray, np.ndarray]]) -> LinearSvms:
    """Train an SVM on pool5 features (section 4.1)."""
    positives, negatives = [], []
    for image, boxes in images:
        windows = model.propose(image)
        far = windows[iou_matrix(windows, boxes).max(axis=1) < 0.3]
        positives.append(model.features(image, boxes, "pool5"))
        negatives.append(model.features(image, far, "pool5"))
    found, others = np.concatenate(positives), np.concatenate(negatives)
    scale = feature_scale([float(np.linalg.norm(np.concatenate([found, others]), axis=1).mean())], 20.0)
    hard = others[:: max(1, len(others) // 400)]
    for _ in range(2):
        rows = np.concatenate([found, hard]) * np.float32(scale)
        labels = np.r_[np.ones(len(found)), -np.ones(len(hard))]
        svms = LinearSvms.of({CATEGORY: train_svm(rows, labels, C=0.01, positive_weight=2.0)}, scale, "pool5")
        hard = np.concatenate([hard, others[svms.scores(others)[:, 0] > -1.0]])
    return svms


# %% Detect: score windows, suppress.
def detect(model: sppnet.Model, svms: LinearSvms, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes `[n, 4]` and scores `[n]`, the best first."""
    windows = model.propose(image)
    scores = svms.scores(model.features(image, windows, "pool5"))[:, 0]
    kept = nms(windows, scores, 0.3)
    return windows[kept], scores[kept]


# %% A picture of what was found.
def picture(image: np.ndarray, box: np.ndarray) -> Image.Image:
    """Return the image with a box drawn."""
    shown = Image.fromarray(image)
    ImageDraw.Draw(shown).rectangle(box.tolist(), outline=(20, 200, 60), width=3)
    return shown


# %% Train on some images and try others; the last one's picture is written to `ring.png`.
def main(path: str) -> float:
    """Return the mean overlap of the best box with the ring."""
    model = sppnet.load(path, device="cpu")
    svms = train(model, [draw(seed) for seed in range(TRAINED)])
    overlaps = []
    for seed in range(100, 100 + TRIED):
        image, truth = draw(seed)
        boxes, scores = detect(model, svms, image)
        overlaps.append(float(iou_matrix(boxes[:1], truth)[0, 0]))
        print(f"image {seed}: {CATEGORY} {scores[0]:.2f} at {boxes[0].round().tolist()}, overlap {overlaps[-1]:.2f}")
    picture(image, boxes[0]).save("ring.png")
    return float(np.mean(overlaps))


if __name__ == "__main__":
    main(next((word for word in sys.argv[1:] if word.endswith(".sppnet")), "model.sppnet"))
