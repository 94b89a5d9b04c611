"""The handwritten digits of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

import trilemma

from .splitting import SplitConfig, parts


class Digits(trilemma.Dataset):
    """1797 handwritten digits of 8 x 8 pixels with intensity levels 0 to 16.

    Half of all pixels are 0, and pixels at the corners hardly vary, so without dequantization the likelihood would be
    unbounded. The images are split by a permutation into 1258 training, 269 validation and 270 test images.
    """

    name = "digits"
    kind = "image"
    levels = 17
    title = "Handwritten digits 8 x 8"
    source = "scikit-learn load_digits (test part of the UCI set Optical Recognition of Handwritten Digits)"
    license = "BSD-3-Clause (scikit-learn); CC BY 4.0 (UCI)"
    citation = "Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI Machine Learning Repository"

    class Config(SplitConfig):
        """The seed of the split."""

    def load(self) -> trilemma.Splits:
        from sklearn.datasets import load_digits

        images = load_digits().images.astype(np.uint8)
        order = self.config.permutation(len(images))
        return parts(torch.from_numpy(images[order]).unsqueeze(1), 269, 270)
