"""Survey file formats: CSV, SPSS, Stata, R, Excel, Parquet."""
