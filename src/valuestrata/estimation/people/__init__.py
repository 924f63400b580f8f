"""People who were interviewed or simulated: their files, and whether a run was taught on their answers."""
