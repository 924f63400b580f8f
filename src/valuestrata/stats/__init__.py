"""Statistics on arrays: resampling, intervals, agreement, multiple testing. No knowledge of surveys."""
