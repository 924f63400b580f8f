"""The tables of an audit: schemas, and the rows of each table."""
