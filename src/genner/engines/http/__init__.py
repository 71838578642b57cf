"""Asks any endpoint that speaks as OpenAI's: OpenAI, vLLM, SGLang, llama.cpp's server, Ollama, LM Studio, OpenRouter.

options         what a call may set
api_key         the key, from the environment only
server          what is at the address: kind of server, models, window; connect: waiting for it
structured      how a server is told which answers are legal; modes: what becomes of a grammar that it refuses
request_writer  the body of a request
connection      one call, with time-outs; open_requests: how many at a time
failures        what became of a call; backoff: when to repeat it
reply           reading a reply, within limits; answers: what it comes to
answer_store    answers on disk; accounts: tokens and cost; estimate, pricing: what a job will cost
calls           from a request to its answer, through all of these
engine          many requests at a time
"""

from genner.engines.http.engine import HttpEngine
from genner.engines.http.options import HttpOptions

__all__ = ["HttpEngine", "HttpOptions"]
