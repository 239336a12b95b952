"""Contender: the usual PyTorch training loop, one Python iteration per time step, on all cores."""

from __future__ import annotations

import torch

from benchmarks.measure import n_cores
from benchmarks.worker import Work

ALPHA, NOISE_STATE, N_INPUTS, N_OUTPUTS = 0.2, 0.05, 3, 4


class LeakyNetwork(torch.nn.Module):  # type: ignore[misc] # torch is not followed, being an extra
    """x <- x + alpha (-x + W r + W_in u + b) + sqrt(2 alpha) s xi,  r = tanh(x),  z = W_out r."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.w_rec = torch.nn.Parameter(torch.randn(n_units, n_units) * 1.1 / n_units**0.5)
        self.w_in = torch.nn.Parameter(0.2 * torch.rand(n_units, N_INPUTS) - 0.1)
        self.w_out = torch.nn.Parameter(0.2 * torch.rand(N_OUTPUTS, n_units) - 0.1)
        self.bias = torch.nn.Parameter(torch.zeros(n_units))
        self.start = torch.nn.Parameter(torch.zeros(n_units))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs (time, trial, output) for inputs (time, trial, input)."""
        x = self.start.expand(inputs.shape[1], -1)
        r = torch.tanh(x)
        outputs = []
        for u in inputs:
            drive = r @ self.w_rec.T + u @ self.w_in.T + self.bias
            x = x + ALPHA * (drive - x) + (2 * ALPHA) ** 0.5 * NOISE_STATE * torch.randn_like(x)
            r = torch.tanh(x)
            outputs.append(r @ self.w_out.T)
        return torch.stack(outputs)


def build(*, n_units: int, batch_size: int, n_steps: int) -> Work:
    """Updates of one network on fixed trials of white noise: no cost of making trials is counted."""
    torch.set_num_threads(n_cores())
    torch.manual_seed(0)
    network = LeakyNetwork(n_units)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    inputs, targets = torch.randn(n_steps, batch_size, N_INPUTS), torch.randn(n_steps, batch_size, N_OUTPUTS)

    def work(n_updates: int) -> None:
        for _ in range(n_updates):
            optimiser.zero_grad(set_to_none=True)
            loss = ((network(inputs) - targets) ** 2).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

    return work
