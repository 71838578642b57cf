"""The options of the engine `vllm`, in a module of their own, which is read without vLLM."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class VllmOptions:
    """Options of the engine `vllm`."""

    batch: int = field(default=0, metadata={"help": "answers computed together; 0: 32 on a CPU, 256 on a GPU"})
    window: int = field(default=0, metadata={"help": "tokens of prompt and answer together; 0: the model's"})
    dtype: str = field(default="", metadata={"help": "bfloat16, float16 or float32; by default the fastest here"})
    adapters: int = field(
        default=0,
        metadata={
            "help": "adapters held beside the base, chosen per request; 0: the model's adapter is merged, faster"
        },
    )
    rank: int = field(default=0, metadata={"help": "highest rank of the adapters; 0: that of the first one"})
    gpu_memory: float = field(default=0.9, metadata={"help": "share of the GPU's memory to use"})
    cpu_memory: int = field(default=2, metadata={"help": "GiB for keys and values on a CPU"})
    gpus: int = field(default=1, metadata={"help": "GPUs that share the model (tensor parallel)"})
    eager: bool | None = field(default=None, metadata={"help": "compile nothing; by default on a CPU"})
