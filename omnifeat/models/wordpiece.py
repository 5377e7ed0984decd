"""Training a WordPiece vocabulary on the data, the same one at every run, for text of any script."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerFast

from omnifeat.errors import DataError
from omnifeat.models.config import QueryConfig
from omnifeat.models.query_tokenizer import QueryTokenizer, normalise_query

__all__ = ["train_wordpiece"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Share of the vocabulary that single characters may take; each takes two entries, one of them as a word's inner piece.
_LARGEST_ALPHABET_SHARE = 0.5


def train_wordpiece(texts: Iterable[str], config: QueryConfig) -> QueryTokenizer:
    """A WordPiece tokenizer of `config.vocab_size` pieces or fewer, trained on `texts`.

    Text is NFKC-normalised and lower-cased, accents are kept, and Chinese characters stand as words of their own. The
    same texts give the same vocabulary: the alphabet (the most frequent characters, ties by code point) and all single
    pieces are fixed before training, because the library would number them in the order of a salted hash table.

    Raises
    ------
    DataError
        There is no text to train on.
    """
    normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
            ),
        ]
    )
    lines = [config.prefix + line for line in map(normalise_query, texts) if line]
    if not lines:
        raise DataError("There is no query text to train a WordPiece vocabulary on; give tables with queries in them.")
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(normalizer.normalize_str(line))
    by_count = sorted((item for item in counts.items() if not item[0].isspace()), key=lambda item: (-item[1], item[0]))
    room = int((config.vocab_size - len(_SPECIAL)) * _LARGEST_ALPHABET_SHARE / 2)
    alphabet = sorted(character for character, _ in by_count[: max(room, 1)])

    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.vocab_size,
        # named as special tokens only so that they are numbered in this order; they are not special below
        special_tokens=[*_SPECIAL, *(f"##{character}" for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(lines, trainer)

    tokenizer = Tokenizer(WordPiece(trained.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", _SPECIAL.index("[SEP]")), ("[CLS]", _SPECIAL.index("[CLS]"))
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=config.max_length,
    )
    return QueryTokenizer(fast, max_length=config.max_length, prefix=config.prefix)
