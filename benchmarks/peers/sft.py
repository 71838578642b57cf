"""TRL's SFTTrainer on the same conversations: the same base, LoRA, optimizer and step size.

It gets token ids and labels, so its own preparation only packs. Rows that do not pack get the conversations of genner's
steps, one group per step: the conversations of a group are of similar length, so there is less padding than in TRL's
own batches. Nothing is saved or reported, and activations are not recomputed.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from genner.engines.transformers_engine import default_device, fast_dtype
from genner.training.adapters import add_adapter
from genner.training.batching import Batch
from genner.training.recipe import Recipe
from peers.clock import given_batches, timer
from peers.lessons import Lesson, Outcome, Row, chat_of, folder_of

BLOCK = 1024
"""Tokens of a packed row, TRL's default; increased for a longer conversation, which would otherwise be truncated."""

IGNORED = -100


def conversations(groups: Sequence[Batch]) -> list[dict[str, list[int]]]:
    """As SFTTrainer has them after tokenizing: `input_ids`, and `labels` that ignore all but the answer."""
    made = []
    for group in groups:
        for pair in group.pairs:
            asked = [*group.prefix, *pair.body]
            made.append({"input_ids": asked + pair.answer, "labels": [IGNORED] * len(asked) + pair.answer})
    return made


def batches(groups: Sequence[Batch]) -> list[list[int]]:
    """For each group, the indices of its conversations in `conversations`."""
    found, at = [], 0
    for group in groups:
        found.append(list(range(at, at + len(group.pairs))))
        at += len(group.pairs)
    return found


def block_of(groups: Sequence[Batch]) -> tuple[int, int]:
    """(tokens of a packed row, rows per step), so that a step has about as many tokens as a group's conversations."""
    lengths = [len(example["input_ids"]) for example in conversations(groups)]
    block = max(BLOCK, *lengths)
    return block, max(1, round(sum(lengths) / len(groups) / block))


def sft(*, attention: str = "sdpa", pure: bool = False, packing: bool = False) -> Any:
    """`Row.train`.

    Args:
        attention: transformers' `attn_implementation`.
        pure: the adapter is kept in the base's dtype without casts; otherwise its weights are float32, peft's default,
            and computed in bf16 by autocast, TRL's default.
        packing: conversations are concatenated into rows of one length, reshuffled by TRL.
    """

    def train(lesson: Lesson, out: Path) -> Outcome:
        from datasets import Dataset
        from transformers import AutoModelForCausalLM
        from trl import SFTTrainer  # type: ignore[attr-defined]  # it loads its names lazily

        spec, dtype = lesson.recipe.lora, fast_dtype(default_device())
        causal = AutoModelForCausalLM.from_pretrained(
            folder_of(lesson.recipe), local_files_only=True, dtype=dtype, attn_implementation=attention
        )
        torch.manual_seed(lesson.recipe.seed)
        watch = timer()
        trainer = given_batches(SFTTrainer)(
            model=add_adapter(causal, spec) if pure else causal,
            args=_settings(lesson, out, packing, autocast=dtype == torch.bfloat16 and not pure),
            train_dataset=Dataset.from_list(conversations(lesson.timed)),
            eval_dataset=Dataset.from_list(conversations(lesson.warm)),  # prepared in the same way: packed if requested
            processing_class=chat_of(lesson.recipe).tokenizer,
            callbacks=[watch],
            peft_config=None if pure else _lora(lesson.recipe),
        )
        _check_labels(trainer.train_dataset, lesson)
        for data, groups in ((trainer.eval_dataset, lesson.warm), (trainer.train_dataset, lesson.timed)):
            trainer.train_dataset = data
            trainer.batches = None if packing else batches(groups)
            trainer.train()  # the timer restarts each time
        tokens = lesson.counts()["each_time"]
        return Outcome(watch.seconds, tokens, watch.computed, watch.steps, watch.losses, watch.peak_mb)

    return train


def _settings(lesson: Lesson, out: Path, packing: bool, *, autocast: bool) -> Any:
    from trl import SFTConfig  # type: ignore[attr-defined]

    optim = lesson.recipe.optim
    block, rows = block_of(lesson.groups) if packing else (None, 1)
    return SFTConfig(
        output_dir=str(out),
        max_length=block,
        packing=packing,
        per_device_train_batch_size=1,  # without packing, `batches` decides
        gradient_accumulation_steps=rows,
        completion_only_loss=True,
        gradient_checkpointing=False,
        use_cpu=default_device().type == "cpu",  # else it refuses autocast
        bf16=autocast,
        fp16=False,
        num_train_epochs=1,
        learning_rate=optim.learning_rate,
        lr_scheduler_type="cosine",
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.clip,
        seed=lesson.recipe.seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _lora(recipe: Recipe) -> Any:
    from peft import LoraConfig

    spec = recipe.lora
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        use_rslora=spec.rslora,
        use_dora=spec.dora,
        target_modules=spec.targets if isinstance(spec.targets, str) else list(spec.targets),
        task_type="CAUSAL_LM",
    )


def _check_labels(prepared: Any, lesson: Lesson) -> None:
    """Check that TRL's prepared data take the loss on exactly the answer tokens of the lesson."""
    trained = sum(label != IGNORED for labels in prepared["labels"] for label in labels)
    if trained != lesson.counts()["answers"]:
        raise RuntimeError(f"TRL trains on {trained} tokens instead of {lesson.counts()['answers']}; see `sft.py`")


def rows() -> list[Row]:
    """Empty without TRL. Plain attention is faster on a CPU only."""
    if find_spec("trl") is None:
        return []
    first, packed = Row("trl", "TRL", sft()), Row("trl_packed", "TRL, packed", sft(packing=True))
    if default_device().type != "cpu":
        return [first, Row("trl_pure", "TRL, adapter in bf16", sft(pure=True)), packed]
    plain = Row("trl_plain", "TRL, plain attention", sft(attention="eager"))
    pure = Row("trl_pure", "TRL, plain attention, adapter in bf16", sft(attention="eager", pure=True))
    return [first, plain, pure, packed]
