"""The sample behind a survey: weights, pooling of countries, sampling units and strata."""
