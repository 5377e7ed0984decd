"""A tiny pretrained encoder, built from its configuration, and a tiny catalogue."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", ":", "red", "blue", "shoe", "shoes", "hat", "##s", "a", "b"]


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Hugging Face writes it: BERT, three layers of width 8, a vocabulary of fourteen pieces."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(WordPiece({piece: row for row, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


@pytest.fixture
def pins() -> pa.Table:
    """Four pins: text and vectors, text alone, a vector alone, nothing."""
    return pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "title": ["Red shoes", "blue hat 帽子", None, None],
            "board_titles": pa.array([["My shoes", None, "Shoes"], [], None, None], pa.list_(pa.string())),
            "engaged_queries": pa.array(
                [["red shoe", "SHOES ", "shoes"], ["hat"], None, [None, "  "]], pa.list_(pa.string())
            ),
            "pinsage": pa.array([[1.0, 0.0, 0.0, 0.0], None, [0.0, 2.0, 0.0, 0.0], None], pa.list_(pa.float32(), 4)),
        }
    )
