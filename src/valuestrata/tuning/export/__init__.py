"""Training files and hosted jobs for other trainers."""
