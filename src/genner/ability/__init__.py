"""General ability before and after: a base model against its adapters, through lm-evaluation-harness.

`run` measures one model on one task; `compare` measures a base and its adapters on the same items and says what has
changed. The harness comes with the extra: `pip install 'genner[ability]'`.
"""

from genner.ability.result import AbilityResult
from genner.ability.run import run

__all__ = ["AbilityResult", "run"]
