"""Cold diffusion (Bansal et al. 2023) and inverse heat dissipation (Rissanen et al. 2023): inverting degradations."""
