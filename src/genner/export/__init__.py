"""Models for elsewhere: an adapter merged into its base, GGUF files for llama.cpp, model cards.

about       what a model's files say of it: base, adapter, formats, training, scores
card        the same as a model card
folder      a plain transformers folder, with the adapter merged into the weights
gguf_file   a GGUF file, from that of the base model
llama_cpp   a GGUF file by llama.cpp's own converter; which of the two is taken
"""
