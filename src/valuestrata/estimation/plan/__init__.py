"""Plans of samples: how many people to interview in each subgroup, and which questions to ask whom."""
