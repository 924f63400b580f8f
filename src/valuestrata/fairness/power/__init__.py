"""Which gaps an audit could detect, computed before a model is asked."""
