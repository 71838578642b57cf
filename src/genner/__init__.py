"""genner: generative named entity recognition with exact positions."""
