"""Loading a plain model in a fraction of a second, without transformers and peft.

Importing transformers takes about two seconds, importing peft and wrapping a model with it another one: longer than all
the rest of loading. This package reads plain files itself: a Llama (`llama`), a LoRA adapter (`lora`), a tokenizer
(`tokens`). It leaves everything else to the libraries (`weights` chooses). Both ways give bit-identical numbers, which
is tested.
"""
