"""The section `open` of a study: its open questions, judges and readers."""
