"""GPT-NER: demonstrations in the prompt, and a second question about each entity. On any engine, in any format.

Wang et al. (2023), "GPT-NER: Named Entity Recognition via Large Language Models", arXiv 2304.10428. A model that was
not trained for the task is shown solved sentences (demonstrations), and then verifies its own entities:

    demonstrations   the pool: sentences of an annotated corpus
    encoders         vectors of sentences and words: a local encoder, or an embeddings endpoint
    vector_cache     the vectors on disk, by a hash of their content
    similarity       nearest neighbours: a matrix product, or FAISS
    retrieval        which demonstrations a sentence gets: random, by sentence, by entity
    wording          the prompt, in genner's words or in the paper's
    window           which demonstrations fit into the model's window
    prompting        `FewShot`: all of the above behind one object
    verification     `SelfVerification`: the question about each entity, answered under `genner.formats.choice`

What is as in the paper: three parts of a prompt (task, demonstrations, sentence) with its wording; one label at a time;
the marking `@@France##`; random, sentence-level and entity-level retrieval, the latter with every word of the sentence
as a query; verification with a yes-or-no question for each entity, with demonstrations of yes and of no.

What differs, on purpose:

- The model is a chat model, so the answer begins the assistant's turn, and no `Output:` stands before it. (The paper
  completes text with GPT-3, text-davinci-003.)
- Answers are written under the grammar where the engine has one, so a demonstration cannot leak into them, and copies
  are exact. The paper's answers are free.
- Without demonstrations nothing shows the marking, so the format is described in a clause.
- Vectors come from any encoder. The paper fine-tunes a tagger on the task for its entity-level vectors, which needs the
  training set that few-shot prompting is meant to do without.
- Entity-level retrieval looks among the words of entities, not among all words: without a fine-tuned tagger, function
  words are nearest to each other and would decide (see `genner.few_shot.retrieval`).
- A sentence is demonstrated once, however many of its words are near, and never to itself.
- Half of the demonstrations of a verification are answered yes and half no; in the paper their share is that of the
  nearest neighbours.
- An answer to a verification that is neither yes nor no keeps the entity, and is counted.
"""

from genner.few_shot.prompting import FewShot
from genner.few_shot.verification import SelfVerification

__all__ = ["FewShot", "SelfVerification"]
