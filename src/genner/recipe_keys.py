"""Keys of recipes that once had another name: recipes are refused with the new one, records are read by it."""

from collections.abc import Mapping
from typing import Any

RENAMED_KEYS: dict[str, dict[str, str]] = {
    "set": {"empty": "max_empty", "join": "concat"},
    "prompt": {"plain": "full_prompt", "symbols": "anonymous_tags"},
    "drafter": {"plain": "full_prompt", "own": "self_distill"},
}
"""By table of a recipe, the new name of each key."""


def with_new_keys(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded recipe, as `Recipe.to_dict` of any version gave it, by the keys of today."""
    return _renamed(recipe, RENAMED_KEYS)


def with_earlier_keys(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe by its earlier keys: what is hashed, so that results that exist keep their names."""
    back = {table: {new: old for old, new in keys.items()} for table, keys in RENAMED_KEYS.items()}
    return _renamed(recipe, back)


def _renamed(recipe: Mapping[str, Any], keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    def of(table: str, values: Any) -> Any:
        return {keys[table].get(key, key): v for key, v in values.items()} if isinstance(values, Mapping) else values

    made = dict(recipe)
    for table in ("prompt", "drafter"):
        if table in made:
            made[table] = of(table, made[table])
    if isinstance(made.get("sets"), list | tuple):
        made["sets"] = [of("set", values) for values in made["sets"]]
    return made
