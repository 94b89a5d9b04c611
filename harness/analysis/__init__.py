"""From results to what may be said of them."""
