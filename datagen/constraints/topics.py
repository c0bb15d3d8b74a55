"""Topics and request forms of the prompts: our own lists.

No evaluation topic is a training topic. The request forms are shared. A held-out prompt therefore combines a
known form with a new topic and a combination of constraints that training never saw.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """A request: ``text`` with ``{topic}``. ``choice``: a question with a short answer."""

    name: str
    text: str
    choice: bool = False

    def about(self, topic: str) -> str:
        return self.text.format(topic=topic)


FORMS = (
    Form("story", "Write a very short story about {topic}."),
    Form("child", "Explain {topic} to a child."),
    Form("tips", "List tips for someone who wants to know more about {topic}."),
    Form("email", "Write a short e-mail to a friend about {topic}."),
    Form("poem", "Write a short poem about {topic}."),
    Form("product", "Write a description of a product inspired by {topic}."),
    Form("post", "Write a social media post about {topic}."),
    Form("describe", "Describe {topic}."),
    Form("facts", "Tell me something interesting about {topic}."),
    Form("advertisement", "Write an advertisement that mentions {topic}."),
    Form("riddle", "Write a riddle about {topic}."),
    Form("diary", "Write a diary entry about {topic}."),
    Form("headline", "Write a headline and an opening line for a news report about {topic}."),
    Form("dialogue", "Write a brief dialogue between two friends about {topic}."),
    Form("beginner", "What should a beginner know about {topic}?"),
    Form("speech", "Write the opening of a speech about {topic}."),
    Form("summary", "Give a short summary of what you know about {topic}."),
    Form("letter", "Write a note to a neighbor about {topic}."),
    Form("recommend", "Would you recommend a book about {topic}?", choice=True),
    Form("lesson", "Is {topic} a suitable subject for a school lesson?", choice=True),
    Form("interest", "Is {topic} more interesting than the weather?", choice=True),
    Form("film", "Should someone make a film about {topic}?", choice=True),
)

TRAIN_TOPICS = (
    "the water cycle", "a lost umbrella", "growing tomatoes", "the night sky", "a rainy Monday",
    "learning to swim", "old bicycles", "a grandmother's kitchen", "city pigeons", "the first snow",
    "baking sourdough bread", "a broken clock", "space travel", "desert plants", "a school play",
    "morning coffee", "the human heart", "a small bookshop", "train journeys", "coral reefs",
    "chess openings", "a noisy neighbor", "honey bees", "the invention of paper", "a mountain hike",
    "street musicians", "recycling glass", "a haunted lighthouse", "dinosaur bones", "public libraries",
    "a birthday party", "volcanoes", "knitting scarves", "solar panels", "a stray cat",
    "the history of chocolate", "learning the guitar", "autumn leaves", "a flooded basement", "ocean tides",
    "home office desks", "a robot vacuum cleaner", "wild mushrooms", "the Roman roads", "a traffic jam",
    "camping in the rain", "earthworms", "a jazz concert", "vegetable soup", "the northern lights",
    "a forgotten password", "paper airplanes", "city parks", "the life of a firefighter", "a job interview",
    "hot air balloons", "ancient pyramids", "a slow computer", "beach cleaning", "medieval castles",
    "sleeping well", "a family dinner", "penguins", "the sound of thunder", "a farmers market",
    "running a marathon", "pocket watches", "a cooking class", "wind turbines", "the color blue",
    "sign language", "an old photograph", "ice skating", "a ship in a storm", "garden snails",
    "washing dishes", "a magic trick", "the planet Mars", "road signs", "a long bus ride",
    "handwritten letters", "a lemonade stand", "migrating birds", "first aid", "a museum of toys",
    "spicy food", "the desert at night", "a lazy Sunday", "tea ceremonies", "elevators",
    "fixing a flat tire", "a secret garden", "fireworks", "lost luggage", "apple orchards",
    "the internet", "a new pair of shoes", "whales", "a power cut", "saving money",
)  # fmt: skip

EVAL_TOPICS = (
    "lighthouse keepers", "a talking parrot", "the moons of Jupiter", "pottery", "a missed flight",
    "rooftop gardens", "the smell of rain", "a stubborn donkey", "origami", "river otters",
    "a town without cars", "learning to juggle", "the discovery of penicillin", "snow globes",
    "a night market", "electric scooters", "sea turtles", "a chess tournament", "grandfather's toolbox",
    "folk songs", "a leaking roof", "sand dunes", "the first day at school", "maple syrup",
    "crossword puzzles", "a runaway kite", "underground caves", "houseplants", "the Great Wall of China",
    "a surprise guest", "wooden boats", "digital cameras", "a quiet village", "hummingbirds",
    "learning to say no", "a winter festival", "rice fields", "the invention of the wheel",
    "a bakery at dawn", "comets", "cable cars", "a pen pal", "bamboo", "the last page of a novel",
    "street food", "a school garden", "tidal pools", "jigsaw puzzles", "a wise old turtle",
    "moving to a new city",
)  # fmt: skip
