"""Rate, concurrency and cost limits of hosted calls."""
