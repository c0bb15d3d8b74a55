"""The words and phrases that constraints draw from.

``KEYWORDS`` and ``BANNED`` share no word, and no phrase below contains a banned word. Any two kinds that do
not conflict can therefore be satisfied together.
"""

from __future__ import annotations

KEYWORDS = (
    "river", "lantern", "garden", "window", "music", "friend", "mountain", "bread", "silver", "winter",
    "letter", "bridge", "morning", "puzzle", "kitchen", "market", "shadow", "forest", "engine", "pencil",
    "harbor", "candle", "journey", "teacher", "island", "pocket", "thunder", "ribbon", "compass", "honey",
    "copper", "meadow", "signal", "ladder", "whisper", "village", "mirror", "blanket", "orange", "castle",
    "science", "family", "colors", "patience", "balance", "energy", "history", "curious", "simple", "courage",
)  # fmt: skip

BANNED = (
    "very", "really", "great", "good", "nice", "amazing", "important", "beautiful", "always", "never",
    "people", "things", "world", "life", "many", "often", "also", "help", "make", "best",
    "perfect", "unique", "special", "wonderful", "delicious", "favorite",
)  # fmt: skip

#: Single words that open a paragraph or a response.
OPENINGS = (
    "Today", "Imagine", "Meanwhile", "Yesterday", "Suddenly", "Honestly", "Surely", "Once", "First",
    "Because", "Tomorrow", "Perhaps", "Clearly", "Finally", "Slowly", "Somewhere",
)  # fmt: skip

#: Phrases that open a response.
GREETINGS = (
    "Dear reader", "Let me tell you", "Here is my answer", "Listen closely", "To begin with", "In my view",
    "Long ago", "Picture this", "As you may know", "It all starts here", "Hello there", "Believe it or not",
)  # fmt: skip

#: Sentences that close a response.
CLOSINGS = (
    "That is all for now.", "Thank you for reading.", "The end.", "See you soon.",
    "Let me know your thoughts.", "And that was that.", "Stay curious.", "Try it yourself.",
    "Is there anything else I can do?", "Now it is your turn.", "What do you think?", "Until next time.",
    "Take care.", "More on this tomorrow.",
)  # fmt: skip

#: Groups of options, one of which is the whole response.
OPTIONS = (
    ("Yes.", "No.", "Maybe."), ("I agree.", "I disagree."), ("True.", "False."),
    ("Certainly.", "Not at all."), ("My answer is yes.", "My answer is no.", "My answer is maybe."),
    ("I like it.", "I do not like it."), ("Recommended.", "Not recommended.", "Undecided."),
    ("Agreed.", "Opposed."), ("Now.", "Later.", "Not at all."), ("Thumbs up.", "Thumbs down."),
    ("Useful.", "Not useful."), ("Certain.", "Unsure.", "Doubtful."),
)  # fmt: skip

#: Keys of JSON objects.
KEYS = (
    "title",
    "summary",
    "topic",
    "mood",
    "audience",
    "example",
    "reason",
    "tip",
    "author",
    "place",
    "color",
    "year",
)
