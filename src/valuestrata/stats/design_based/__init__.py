"""Design-based estimates of domains: linearised variances and intervals."""
