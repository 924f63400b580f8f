"""Whether a judge can be trusted: its own consistency and its agreement with people."""
