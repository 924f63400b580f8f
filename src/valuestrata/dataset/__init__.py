"""The data set: subgroups, gold answers, landscape, and the tables on disk."""
