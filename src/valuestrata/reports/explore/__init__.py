"""The explorer of a page: every scored pair of every run, to filter, sort and open, within the HTML file."""
