"""Files of local models: which are read, GGUF files converted once, and chat templates that must end."""
