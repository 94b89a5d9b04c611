"""The processes of cells: who forks, watches and ends them."""
