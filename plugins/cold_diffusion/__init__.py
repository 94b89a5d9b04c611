"""Cold diffusion: inverting deterministic degradations (Bansal et al. 2023)."""
