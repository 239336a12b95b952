"""Contender: the usual search for fixed points in PyTorch, Adam on q in float32 with a loop in Python.

The optimiser, its cost, its schedule and its stopping rule are the defaults of FixedPointFinder's PyTorch class
(Golub & Sussillo 2018, doi:10.21105/joss.01003); what it does after the loop is left out.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.adam_jax import ALPHA, FACTOR, N_UPDATES, THRESHOLD, TOL_DQ, TOL_Q
from benchmarks.measure import n_cores
from benchmarks.worker import Work

LEARNING_RATE, PATIENCE = 1.0, 2


def build(*, file: str, points_file: str) -> Work:
    """A search from all starts in `file`; leaves the last states and their q in `points_file`."""
    torch.set_num_threads(n_cores())
    with np.load(file) as kept:
        w_rec, starts = torch.tensor(kept["w_rec"]), torch.tensor(kept["starts"], dtype=torch.float32)
        drive = torch.tensor(kept["w_in"] @ kept["input"] + kept["b"], dtype=torch.float32)

    def descend() -> tuple[torch.Tensor, torch.Tensor]:
        x = starts.clone().requires_grad_(True)
        adam = torch.optim.Adam([x], LEARNING_RATE)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            adam, factor=FACTOR, patience=PATIENCE, threshold=THRESHOLD
        )
        before = torch.full((len(starts),), float("nan"))
        for _ in range(N_UPDATES):
            q = 0.5 * ((ALPHA * (torch.tanh(x) @ w_rec.T + drive - x)) ** 2).sum(dim=1)
            mean = q.mean()
            adam.zero_grad()
            mean.backward()
            adam.step()
            plateau.step(mean.item())
            now = q.detach()
            still = (now - before).abs() < TOL_DQ * plateau.get_last_lr()[0]
            before = now
            if bool((still | (now < TOL_Q)).all()):
                break
        return x.detach(), now

    def work(n_searches: int) -> None:
        for _ in range(n_searches):
            x, q = descend()
        np.savez(points_file, x=x.numpy(), q=q.numpy())

    return work
