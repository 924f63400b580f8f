"""A local web page for a folder of data sets, runs and studies."""
