"""Export of models: an adapter merged into its base, GGUF files for llama.cpp, model cards.

about       the facts in a model's files: base, adapter, formats, training, scores
card        the same facts as a model card
folder      a plain transformers folder, with the adapter merged into the weights
gguf_file   a GGUF file, from that of the base model
llama_cpp   a GGUF file by llama.cpp's own converter; the choice between the two
"""
