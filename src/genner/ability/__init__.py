"""General ability before and after: a base model against its adapters, through lm-evaluation-harness.

`run` measures one model on one task; `compare` measures a base and its adapters on the same items. `read_items` reads
their output; `deltas` computes the changes between two sides, and `decompose` splits a change of F1 into its causes.
`lm_eval_path` is the folder of genner's NER tasks for the harness (`genner.ability.ner_tasks`).
The harness comes with the extra: `pip install -e '.[ability]'`; the output can be read without it.
"""

from genner.ability.items import AbilityItem, read_items
from genner.ability.ner_tasks import lm_eval_path
from genner.ability.paired_differences import decompose, deltas
from genner.ability.result import AbilityResult
from genner.ability.run import Ask, compare, run

__all__ = ["AbilityItem", "AbilityResult", "Ask", "compare", "decompose", "deltas", "lm_eval_path", "read_items", "run"]
