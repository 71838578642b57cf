# genner on the CPU. The model is fetched at the first run, into the volume /models:
#
#   docker build -t genner .
#   docker run --rm -v genner-models:/models genner extract --text "Ada Lovelace was born in London."
#   docker run --rm -v genner-models:/models -v "$PWD:/work" genner extract notes.txt --out found.jsonl
#
# Files in /work are written as user 1000; with another id, add `--user "$(id -u):$(id -g)"` and a folder of your own as
# /models, since a named volume belongs to user 1000.
FROM python:3.12-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/genner

# The locked packages first: this layer stays as long as the lock does.
COPY requirements.lock requirements-train.lock ./
RUN pip install --require-hashes --no-deps --extra-index-url https://download.pytorch.org/whl/cpu \
    -r requirements.lock -r requirements-train.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-deps --no-build-isolation .

RUN useradd --uid 1000 --create-home genner && mkdir /models /work && chown genner:genner /models /work
USER genner
ENV GENNER_HOME=/models
VOLUME /models
WORKDIR /work
ENTRYPOINT ["genner"]
CMD ["--help"]
