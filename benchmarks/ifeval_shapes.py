"""Answers brought near to what a check of IFEval asks for, so that each check sees passes and near misses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

#: A sentence in each of some languages.
SENTENCES = {
    "en": "The old ferry crosses the bay twice a day and carries letters for the island.",
    "de": "Die alte Fähre fährt zweimal am Tag über die Bucht und bringt Briefe auf die Insel.",
    "fr": "Le vieux bac traverse la baie deux fois par jour et porte les lettres à l'île.",
    "es": "El viejo barco cruza la bahía dos veces al día y lleva cartas a la isla.",
    "pt": "O velho barco atravessa a baía duas vezes por dia e leva cartas para a ilha.",
    "it": "La vecchia barca attraversa la baia due volte al giorno e porta le lettere all'isola.",
    "vi": "Chiếc phà cũ đi qua vịnh hai lần mỗi ngày và mang thư đến hòn đảo.",
    "bg": "Старият кораб минава през залива два пъти на ден и носи писма до острова.",
    "ru": "Старый паром дважды в день пересекает залив и везёт письма на остров.",
    "ko": "오래된 배는 하루에 두 번 만을 건너 섬으로 편지를 나릅니다.",
    "ja": "古い船は一日に二回湾を渡り、島へ手紙を運びます。",
    "hi": "पुरानी नाव दिन में दो बार खाड़ी पार करती है और द्वीप तक चिट्ठियाँ ले जाती है।",
    "mr": "जुनी बोट दिवसातून दोनदा खाडी ओलांडते आणि बेटावर पत्रे घेऊन जाते आहे.",
    "ne": "पुरानो डुङ्गा दिनको दुई पटक खाडी पार गर्छ र टापुमा चिठीहरू लैजान्छ।",
    "th": "เรือเก่าข้ามอ่าววันละสองครั้งและนำจดหมายไปที่เกาะ",
    "bn": "পুরোনো নৌকাটি দিনে দুবার উপসাগর পার হয় এবং দ্বীপে চিঠি নিয়ে যায়।",
    "ta": "பழைய படகு ஒரு நாளைக்கு இரண்டு முறை விரிகுடாவைக் கடந்து தீவுக்கு கடிதங்களைக் கொண்டு செல்கிறது.",
    "kn": "ಹಳೆಯ ದೋಣಿ ದಿನಕ್ಕೆ ಎರಡು ಬಾರಿ ಕೊಲ್ಲಿಯನ್ನು ದಾಟಿ ದ್ವೀಪಕ್ಕೆ ಪತ್ರಗಳನ್ನು ಒಯ್ಯುತ್ತದೆ.",
    "te": "పాత పడవ రోజుకు రెండుసార్లు అఖాతం దాటి దీవికి ఉత్తరాలు తీసుకెళ్తుంది.",
    "pa": "ਪੁਰਾਣੀ ਕਿਸ਼ਤੀ ਦਿਨ ਵਿੱਚ ਦੋ ਵਾਰ ਖਾੜੀ ਪਾਰ ਕਰਦੀ ਹੈ ਅਤੇ ਟਾਪੂ ਤੇ ਚਿੱਠੀਆਂ ਲੈ ਜਾਂਦੀ ਹੈ।",
    "gu": "જૂની હોડી દિવસમાં બે વાર ખાડી પાર કરે છે અને ટાપુ પર પત્રો લઈ જાય છે.",
    "fa": "قایق قدیمی روزی دو بار از خلیج می‌گذرد و نامه‌ها را به جزیره می‌برد.",
    "ar": "يعبر القارب القديم الخليج مرتين في اليوم ويحمل الرسائل إلى الجزيرة.",
    "ur": "پرانی کشتی دن میں دو بار خلیج پار کرتی ہے اور جزیرے پر خط لے جاتی ہے۔",
    "fi": "Vanha lautta ylittää lahden kahdesti päivässä ja vie kirjeitä saarelle.",
    "sw": "Mashua ya zamani huvuka ghuba mara mbili kwa siku na kupeleka barua kisiwani.",
}


def near(kind: str, given: dict[str, Any], text: str, rng: random.Random) -> str:
    """The text changed towards what the check asks for, or a little past it."""
    count = max(
        1, next((value for value in given.values() if isinstance(value, int)), 2) + rng.choice((-1, 0, 0, 1))
    )
    parts = _parts(text, count)
    shapes: dict[str, Callable[[], str]] = {
        "keywords:existence": lambda: f"{text} {' '.join(given['keywords'][rng.randrange(2) :])}",
        "keywords:frequency": lambda: text + f" {given['keyword']}" * count,
        "keywords:forbidden_words": lambda: (
            text + rng.choice((" ", " x")) + rng.choice(given["forbidden_words"])
        ),
        "keywords:letter_frequency": lambda: _letters(given["letter"], text, count, rng),
        "language:response_language": lambda: _foreign(given["language"], text, rng),
        "length_constraints:number_sentences": lambda: _sentences(text, count, rng),
        "length_constraints:number_paragraphs": lambda: (
            rng.choice(("\n***\n", "***", "\n\n* * *\n")).join(parts)
            + rng.choice(("", "\n***", "\n***\n***"))
        ),
        "length_constraints:number_words": lambda: " ".join(
            (text.split() * 40)[: count + rng.randint(-2, 2)]
        ),
        "length_constraints:nth_paragraph_first_word": lambda: _opening(text, given, rng),
        "detectable_content:number_placeholders": lambda: (
            text + "".join(rng.choice((" [name]", " [a]\n", "[]", " [of\nplace]")) for _ in range(count))
        ),
        "detectable_content:postscript": lambda: (
            text + rng.choice(("\n\nP.S. ", "\nP. S. ", "\np.p.s ", "\nP.P.S. ", " P.S", "\nPS: ")) + "More."
        ),
        "detectable_format:number_bullet_lists": lambda: "\n".join(
            rng.choice(("* ", "- ", "  * ", "*", "** ", "\n\n-", "*\n")) + part for part in parts
        ),
        "detectable_format:constrained_response": lambda: rng.choice(
            ("My answer is yes.", "my answer is no.", f"{text} My answer is maybe.", "My answer is no")
        ),
        "detectable_format:number_highlighted_sections": lambda: " ".join(
            rng.choice(("*{}*", "**{}**", "* {}", "*{}\n*", "***{}***")).format(part) for part in parts
        ),
        "detectable_format:multiple_sections": lambda: "\n".join(
            rng.choice(("{} {}\n", "{}{}: ", "**{} {}**\n")).format(given["section_spliter"], number + 1)
            + part
            for number, part in enumerate(parts)
        ),
        "detectable_format:json_format": lambda: rng.choice(
            ("{}", "```json\n{}\n```", "```\n{}\n```", "Here: {}", "```JSON\n{}```", "{},")
        ).format(json.dumps({"answer": text})),
        "detectable_format:title": lambda: (
            rng.choice(("<<{}>>\n", "<{}>\n", "<< >>\n{}", "<<{}\n>>", "x <<{}>>> y")).format("A title")
            + text
        ),
        "combination:two_responses": lambda: rng.choice(
            (
                "{0}******{1}",
                "{0}\n******\n{0}",
                "******{0}******{1}******",
                "{0}*****{1}",
                "{0}******\n******{1}",
                "{0}\n\n*******\n{1}",
            )
        ).format(text, text[::-1]),
        "combination:repeat_prompt": lambda: (
            rng.choice(("{}\n\n", " {}", "Sure: {}", "{}")).format(
                rng.choice((str, str.upper))(given["prompt_to_repeat"])
            )
            + text
        ),
        "startend:end_checker": lambda: (
            text
            + rng.choice(("\n", " "))
            + rng.choice((str, str.lower))(given["end_phrase"])
            + rng.choice(("", " ", '"', ".", "\n", "*"))
        ),
        "startend:quotation": lambda: rng.choice(('"{}"', '"{}', "“{}”", ' "{}"\n', '"{}".')).format(text),
        "change_case:capital_word_frequency": lambda: _capitals(text, count, rng),
        "change_case:english_capital": lambda: _foreign("en", text, rng).upper() + rng.choice(("", "", "x")),
        "change_case:english_lowercase": lambda: (
            _foreign("en", text, rng).lower() + rng.choice(("", "", "X"))
        ),
        "punctuation:no_comma": lambda: text.replace(",", "", rng.choice((-1, 2))),
    }
    return shapes[kind]()


def wrapped(text: str, rng: random.Random) -> str:
    """The text as chat models wrap an answer, or otherwise changed."""
    return rng.choice(
        (
            lambda: f"Sure! Here is my answer:\n{text}",
            lambda: f"{text}\nI hope this helps!",
            lambda: f"Sure:\n{text}\n\nLet me know.",
            lambda: f"**{text}**",
            lambda: text.upper(),
            lambda: text.lower(),
            lambda: text.replace(". ", ".\n\n"),
            lambda: text[: max(1, len(text) // 3)],
            lambda: f"# Title\n\n{text}\n\n* One\n* Two\n",
            lambda: f"Dr. A. B. Smith (U.S.A.) wrote: \"{text}\" Cf. p. 5, e.g. No. 7... IT'S I'M CANNOT.",
            lambda: "",
        )
    )()


def _parts(text: str, count: int) -> list[str]:
    words = text.replace("*", "").split() or ["word"]
    size = max(1, min(12, len(words) // count))
    return [" ".join(words[at * size : at * size + size]) or words[0] for at in range(min(count, 40))]


def _letters(letter: str, text: str, count: int, rng: random.Random) -> str:
    bare = re.sub(re.escape(letter), "", text, flags=re.IGNORECASE)
    return bare + "".join(rng.choice((letter, letter.upper())) for _ in range(count))


def _foreign(code: str, text: str, rng: random.Random) -> str:
    own = SENTENCES.get(code, text)
    return rng.choice((own, f"{own} {own}", f"{own}\n{text[:60]}", text, "12345 !", own[:12]))


def _sentences(text: str, count: int, rng: random.Random) -> str:
    parts = re.findall(r"[^.!?]+[.!?]", text.replace("\n", " ")) or ["One."]
    ends = (" ", " ", "\n", " Mr. ", " e.g. ", " (no. 3) ", '" ', " 5. ", "... ", " J. ")
    return "".join(part.strip() + rng.choice(ends) for part in (parts * count)[:count])


def _opening(text: str, given: dict[str, Any], rng: random.Random) -> str:
    parts = _parts(text, given["num_paragraphs"])
    at = given["nth_paragraph"] - 1
    first = rng.choice((str, str.upper, str.title))(given["first_word"])
    parts[at] = rng.choice(("{} {}", '"{}" {}', "{}, {}", "{}'s {}", "the {} {}", "'\"{}! {}")).format(
        first, parts[at]
    )
    return rng.choice(("\n\n", "\n\n", "\n\n\n", "\n \n", "\n\n\n\n")).join(parts) + rng.choice(("", "\n\n"))


def _capitals(text: str, count: int, rng: random.Random) -> str:
    words = text.split()
    for at in rng.sample(range(len(words)), min(count, len(words))):
        words[at] = rng.choice(("{}", "{}.", "{}'S", "-{}-", "({})", "{}/{}", "X-{}", "{}--{}")).format(
            *[words[at].upper()] * 2
        )
    return " ".join(words)
