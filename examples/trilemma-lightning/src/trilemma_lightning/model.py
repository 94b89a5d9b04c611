"""A variational autoencoder that Lightning trains, step by step under the clock of the harness."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from pydantic import Field
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trilemma


class Autoencoder(LightningModule):
    """Encoder, decoder and the bound, as any Lightning module."""

    def __init__(self, dim: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.steps: Iterator[int] = iter(())

    def training_step(self, batch: Any, index: int) -> Tensor:
        (x,) = batch
        mean, log_scale = self.encoder(x).chunk(2, 1)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1)
        error = 0.5 * ((x - self.decoder(z)) / self.log_scale.exp()).square() + self.log_scale
        return (error.sum(1) + kl).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Take a step of the clock before each batch. When none is left, stop."""
        if next(self.steps, None) is None:
            self.trainer.should_stop = True
            return -1
        return None


class LightningVae(trilemma.Model):
    """A variational autoencoder (Kingma and Welling 2014), trained by Lightning."""

    name = "lightning-vae"
    family = "vae"

    class Config(trilemma.Config):
        """Size of the model."""

        latent: int = Field(2, ge=1, description="number of latent coordinates")
        hidden: int = Field(64, ge=1, description="width of the hidden layer")

    def prepare(self, info: trilemma.DataInfo) -> None:
        self.module = Autoencoder(info.dim, self.config.latent, self.config.hidden)

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None:
        assert ctx.clock is not None
        batches: Any = DataLoader(TensorDataset(train.x), batch_size=256, shuffle=True)
        trainer = Trainer(
            accelerator="cpu" if ctx.device.type == "cpu" else "gpu",
            devices=1,
            max_epochs=-1,  # until the clock says so
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with torch.random.fork_rng():  # Lightning draws from the global generator, which gets a seed of the harness
            torch.manual_seed(int(torch.randint(2**31 - 1, (), generator=ctx.generator, device=ctx.device)))
            self.prepare(ctx.info)
            self.module.steps = iter(ctx.clock)
            trainer.fit(self.module, batches)
        self.module.to(ctx.device)

    def networks(self) -> Iterable[nn.Module]:
        return [self.module.decoder]

    def state(self) -> dict[str, Tensor]:
        return self.module.state_dict()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(dict(state))
        self.module.to(state["log_scale"].device)

    @torch.no_grad()
    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        z = torch.randn((n, self.module.latent), generator=ctx.generator, device=ctx.device)
        noise = torch.randn((n, *ctx.info.shape), generator=ctx.generator, device=ctx.device)
        return self.module.decoder(z) + self.module.log_scale.exp() * noise
