"""The training of neural models: their base class, and the training loop that they share."""
