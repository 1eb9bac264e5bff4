"""The words: a small byte-pair vocabulary in CLIP's format, a small `CLIPTextModel`, captions as ids."""

import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import PLACED_PHRASES, SURROUNDINGS, TEMPLATES, caption
from .pictures import Picture
from .variations import COLORS, VARIATIONS

VOCABULARY = 3584
LENGTH = 32
WIDTH = 192
START, END = "<|startoftext|>", "<|endoftext|>"


def new_tokenizer(pictures: list[Picture]) -> CLIPTokenizer:
    """A `CLIPTokenizer` whose whole words are the set's names; any other text becomes pieces."""
    base = CLIPTokenizer()
    backend = Tokenizer(BPE(unk_token=END, end_of_word_suffix="</w>"))
    backend.normalizer = base.backend_tokenizer.normalizer
    backend.pre_tokenizer = base.backend_tokenizer.pre_tokenizer
    texts = [name for p in pictures for name in p.names] * 3
    texts += [t.format(x="", a="a an") for t in (*TEMPLATES, *sum(PLACED_PHRASES.values(), ()))] * 9
    texts += [*SURROUNDINGS, *COLORS] * 9
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    learned = backend.get_vocab()
    # Byte pieces that end a word must exist for every byte, learned or not.
    order = sorted(learned, key=lambda piece: learned[piece])
    order += [byte + "</w>" for byte in alphabet if byte + "</w>" not in learned]
    pieces = [p for p in order if p not in (START, END)][: VOCABULARY + 256]
    vocabulary = {piece: row for row, piece in enumerate([*pieces, START, END])}
    merges = [tuple(pair) for pair in _merges(backend)]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def tokenizer_of(work: Path, pictures: list[Picture]) -> CLIPTokenizer:
    """The work folder's tokenizer, made when missing: learned twice, equally frequent pieces change places."""
    home = work / "tokenizer"
    if not home.exists():
        fresh = work / ".tokenizer.fresh"
        new_tokenizer(pictures).save_pretrained(fresh)
        fresh.rename(home)
    return CLIPTokenizer.from_pretrained(home)


def _merges(backend: Tokenizer) -> list[list[str]]:
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [m.split(" ") if isinstance(m, str) else m for m in merges]


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder: (batch, 32) ids to (batch, 32, 192) states."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH * 3,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="gelu",
            initializer_factor=1.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def ids(tokenizer: CLIPTokenizer, texts: Iterable[str]) -> Tensor:
    """Texts to (batch, 32) int64, as the diffusers pipeline does it."""
    return torch.tensor(tokenizer(list(texts), padding="max_length", max_length=LENGTH, truncation=True).input_ids)


def caption_ids(tokenizer: CLIPTokenizer, pictures: list[Picture], kinds: int, seed: int) -> Tensor:
    """(pictures, variations, kinds, 32) int16; kind 0 is the bare phrase, the rest are sentences."""
    rng = random.Random(seed)
    texts = [
        caption(p, v, rng, plain_share=1.0 if kind == 0 else 0.0, other_names=kind > 0)
        for p in pictures
        for v in VARIATIONS
        for kind in range(kinds)
    ]
    packed = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    shape = (len(pictures), len(VARIATIONS), kinds, LENGTH)
    return torch.from_numpy(np.array(packed, np.int16).reshape(shape))
