"""Loading a plain model in a fraction of a second, without transformers and peft.

Importing transformers takes about two seconds, importing peft and wrapping a model with it another one: longer than all
the rest of loading. This package reads what is plain by itself: a Llama (`llama`), a LoRA adapter (`lora`), a tokenizer
(`tokens`). What it does not know exactly, it leaves to the libraries (`weights` chooses). Both ways give the same
numbers to the bit, which is tested.
"""
