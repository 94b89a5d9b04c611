"""Score matching (Hyvarinen 2005; Vincent 2011; Song et al. 2019)."""
