"""Flow matching (Lipman et al. 2023), minibatch-OT flow matching and rectified flow."""
