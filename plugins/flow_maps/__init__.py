"""Flow maps: networks that carry a point from any time of a flow to any other in one evaluation."""
