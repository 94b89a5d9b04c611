"""Where the time of a U-Net goes: beside matrix products with as many operations, in CPU seconds, one thread.

Run on an idle machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from trilemma.plugins.networks.unet import UNet

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

IMAGES = 1000
CONVOLUTIONS = ("aten::mkldnn_convolution", "aten::_convolution")


def seconds(call: Callable[[], object], times: int = 3) -> float:
    call()
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


@torch.no_grad()
def test_evaluating_a_unet_takes_about_as_long_as_its_matrix_products() -> None:
    network = UNet((1, 8, 8), 1).eval()
    x, label = torch.randn(IMAGES, 1, 8, 8), torch.randn(IMAGES)
    with FlopCounterMode(display=False) as counter:
        network(x, label)
    rows, inner, columns = 4096, 216, 24  # as a 3 x 3 convolution of 24 channels
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    products = counter.get_total_flops() / (2 * rows * inner * columns)
    rounds = [(seconds(lambda: network(x, label)), products * seconds(lambda: a @ b, 100)) for _ in range(3)]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        network(x, label)
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    share = sum(times[name] for name in CONVOLUTIONS) / sum(times.values())
    print(
        f"{IMAGES} images, {counter.get_total_flops() / IMAGES / 1e6:.1f} MFLOP each: "
        + "; ".join(f"{mine * 1e3:.0f} ms, products alone {least * 1e3:.0f} ms" for mine, least in rounds)
        + f"; convolutions are {share:.0%} of the time"
    )
    assert min(mine / least for mine, least in rounds) <= 1.5
