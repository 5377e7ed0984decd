"""Word and character n-grams of entity text, and their vocabularies."""

from omnifeat.text.bags import TokenBags, gather_bags
from omnifeat.text.normalise import normalise
from omnifeat.text.tokenizer import NgramSizes, NgramTokenizer

__all__ = ["NgramSizes", "NgramTokenizer", "TokenBags", "gather_bags", "normalise"]
