"""All that is trained and drawn through one denoiser D(x, sigma)."""
