"""Noise-conditional score networks (Song & Ermon 2019, 2020)."""
