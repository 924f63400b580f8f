"""A folder that can be uploaded as a data set of the Hugging Face Hub."""
