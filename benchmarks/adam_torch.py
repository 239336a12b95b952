"""Contender: the usual search for fixed points in PyTorch, Adam on q in float32 with a loop in Python."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measure import n_cores
from benchmarks.worker import Work

# As in `benchmarks.adam_jax`.
ALPHA, LEARNING_RATE, FACTOR, PATIENCE, N_UPDATES, TOL_Q = 0.2, 1e-2, 0.95, 5, 5000, 1e-12


def build(*, file: str, points_file: str) -> Work:
    """A search from all starts in `file`; leaves the last states and their q in `points_file`."""
    torch.set_num_threads(n_cores())
    with np.load(file) as kept:
        w_rec, starts = torch.tensor(kept["w_rec"]), torch.tensor(kept["starts"], dtype=torch.float32)
        drive = torch.tensor(kept["w_in"] @ kept["input"] + kept["b"], dtype=torch.float32)

    def work(n_searches: int) -> None:
        for _ in range(n_searches):
            x = starts.clone().requires_grad_(True)
            adam = torch.optim.Adam([x], LEARNING_RATE)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=FACTOR, patience=PATIENCE)
            for _ in range(N_UPDATES):
                adam.zero_grad()
                q = 0.5 * ((ALPHA * (torch.tanh(x) @ w_rec.T + drive - x)) ** 2).sum(dim=1)
                total = q.sum()
                if bool((q < TOL_Q).all()):
                    break
                total.backward()
                torch.nn.utils.clip_grad_norm_([x], len(starts) ** 0.5)
                adam.step()
                plateau.step(total.item())
        np.savez(points_file, x=x.detach().numpy(), q=q.detach().numpy())

    return work
