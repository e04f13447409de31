"""Image quality: sharpness, contrast and noise of each image (the use of funcX's microscopy users).

    python examples/image_quality.py

Works on the images that scikit-image brings with it.
"""

from __future__ import annotations

from pathlib import Path

import bursa
import numpy as np
import skimage
from scipy.ndimage import convolve
from skimage import color, filters, io

# Immerkær's noise estimate (1996): what is left of an image after its structure is taken away.
STRUCTURELESS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif"}


@bursa.function
def quality(path: str) -> dict[str, float]:
    """Sharpness (variance of the Laplacian), contrast (RMS) and noise (sigma), in grey values of 0 to 1."""
    image = np.atleast_2d(io.imread(path))
    if image.ndim > 2 and image.shape[-1] in (3, 4):
        image = color.rgb2gray(image[..., :3])
    grey = skimage.img_as_float(image.squeeze())
    if grey.ndim > 2:
        grey = grey[0]
    return {
        "sharpness": float(filters.laplace(grey).var()),
        "contrast": float(grey.std()),
        "noise": float(np.abs(convolve(grey, STRUCTURELESS)).mean() * np.sqrt(np.pi / 2) / 6),
    }


def main() -> None:
    bundled = Path(skimage.__file__).parent / "data"
    paths = sorted(str(path) for path in bundled.iterdir() if path.suffix in SUFFIXES)
    results = zip(paths, quality.map(paths))
    print(f"{'image':28} {'sharpness':>10} {'contrast':>10} {'noise':>10}")
    for path, found in sorted(results, key=lambda pair: -pair[1]["sharpness"]):
        name = Path(path).name
        print(f"{name:28} {found['sharpness']:10.5f} {found['contrast']:10.3f} {found['noise']:10.4f}")


if __name__ == "__main__":
    main()
