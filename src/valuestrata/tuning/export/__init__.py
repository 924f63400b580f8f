"""Training files and jobs for other trainers."""
