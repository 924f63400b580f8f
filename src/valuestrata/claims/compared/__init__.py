"""Claims on comparisons of runs: differences, equivalence, personas, and correction over the first screen."""
