"""Language models in this process, through vLLM."""
