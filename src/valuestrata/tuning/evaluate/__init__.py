"""What tuning taught and what it cost."""
