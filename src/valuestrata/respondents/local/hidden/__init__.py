"""Hidden states of local models at the position where the answer begins."""
