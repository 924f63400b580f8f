"""Small-area estimates: shares of subgroups that borrow strength from others, and what they say about the mode."""
