"""Reads `generated_predictions.jsonl`, as LLaMA-Factory writes it: prompt, prediction and gold answer.

{"prompt": "...", "predict": "<PER>Ada</PER> met Bob.", "label": "<PER>Ada</PER> met <PER>Bob</PER>."}
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genner.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """One answer. `predict` and `label` are the values of the JSON, nearly always strings; "" if the key is missing,
    which `missing` then names.
    """

    line: int
    predict: Any
    label: Any
    prompt: str | None
    missing: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Generations:
    """The records of a file in order, and the numbers of the lines that are not JSON and were skipped.

    The published scripts skip such lines with a warning; so does this reader, which also counts them.
    """

    records: tuple[GenerationRecord, ...]
    skipped: tuple[int, ...]


def read_generations(path: Path) -> Generations:
    """Read a file. Blank lines are ignored; a line that is not JSON is skipped, logged and counted.

    Raises `DataError` where the published scripts would stop: a file that is not UTF-8 or cannot be opened, a line that
    is JSON but not an object; also when no record has `predict` and `label`, which means another kind of file.
    """
    records, skipped = [], []
    known, keys = False, dict[str, None]()
    try:
        # Text mode, because a carriage return also ends a line for the published scripts.
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not (line := line.strip()):
                    continue
                try:
                    data = json.loads(line)
                except json.JSONDecodeError as error:
                    log.warning("%s:%d: is not JSON: %s; line skipped", path, number, error)
                    skipped.append(number)
                    continue
                except (ValueError, RecursionError) as error:
                    raise DataError(str(path), f"cannot be read as JSON: {error}", number) from None
                if not isinstance(data, dict):
                    how = "; LLaMA-Factory writes one object a line: give that file"
                    raise DataError(str(path), f"is a JSON {type(data).__name__}, not an object{how}", number)
                known = known or {"predict", "label"} <= data.keys()
                keys.update(dict.fromkeys(data))
                prompt = data.get("prompt")
                records.append(
                    GenerationRecord(
                        number,
                        data.get("predict", ""),
                        data.get("label", ""),
                        without_surrogates(prompt) if isinstance(prompt, str) else None,
                        tuple(key for key in ("predict", "label") if key not in data),
                    )
                )
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"invalid UTF-8 at byte {error.start} of a block; re-encode the file") from None
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from None
    if records and not known:
        raise DataError(
            str(path),
            f"no line has 'predict' and 'label'; there are: {', '.join(keys) or 'nothing'}; give LLaMA-Factory's "
            "generated_predictions.jsonl",
        )
    return Generations(tuple(records), tuple(skipped))


def without_surrogates(text: str) -> str:
    """The text with a question mark for each lone surrogate, as decoding an answer has it."""
    return text.encode("utf-8", "replace").decode()
