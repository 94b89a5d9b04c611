"""Flows on images that keep their shape: masks, squeezing, factoring out, and the models made of them."""
