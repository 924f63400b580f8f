"""Statistical estimators on arrays: bootstrap, intervals, agreement, multiple testing. Nothing here knows about surveys."""
