"""Text that is hard to tokenise, for the tests."""

import hypothesis.strategies as st

# Pieces that random code points would hardly ever put side by side.
PIECES = [
    "a", "B", "é", "e\u0301", "J\u030c", "İ", "ẞ", "Σ", "x\u0323\u0301", "x\u0301\u0323", "\u0301",
    "ﬁ", "½", "…", "\u00a0", "Ａ", "ｶﾞ", "각", "\u1100\u1161\u11a8", "漢", "字", "ひ", "か\u3099", "カー",
    "々", "\u0e33", "ก", "ไ", "ก่", "๑๒", "မြန်မာ", "ខ្មែរ", "ລາວ", "नमस्ते", "क़", "می\u200cخواهم",
    "שָׁלוֹם", "مرحبا", "👨\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "1\ufe0f\u20e3", "🇫🇷",
    "🏴\U000e0067\U000e0062\U000e007f", "\U0001fae8", "™", "$", "€", "+", "<", "#", "'", "-", "_",
    "/", "3.5", "\u0000", "\u00ad", "\u200b", "\u200e", "\u202e", "\ufeff", "\u2028", "\u001f",
    "\u0085", " ", "  ", "\t", "\n", "\ue000", "\uffff", "\U0010ffff", "𠮷", "Ⅷ", "ǅ",
]  # fmt: skip


def texts(max_size=30):
    """Any text without surrogates, and mixes of awkward pieces."""
    any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)
    return st.one_of(any_text, st.lists(st.sampled_from(PIECES), max_size=max_size).map("".join))
