"""The evaluation of a trained model: spaces, the true distribution, costs, and the view that metrics get."""
