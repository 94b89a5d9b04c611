"""A trained model and its dataset, as metrics see them."""
