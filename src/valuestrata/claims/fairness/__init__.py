"""Claims that an audit supports: its tables in, claim records out (`rules`)."""
