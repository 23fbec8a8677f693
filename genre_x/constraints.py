"""The parts of a grammar that says: every head and tail is a span of this text.

The dialect is llguidance's Lark (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md). Its
`substring_chunks` accepts any run of consecutive chunks of the text. The chunks are escaped one by one as JSON strings, so
no span can cut an escape sequence in two, and white space is spelled as one space, so a mention that runs over a line
break is written on one line.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence

from genre_x.document import Mention
from genre_x.grounding import chunks, normalized

SPAN = "SPAN"
NUMBER = "NUMBER"


def json_content(text: str) -> str:
    r"""`text` as it stands between the quotes of a JSON string.

    >>> json_content('a "b"')
    'a \\"b\\"'
    """
    # JSON allows a bare U+007F, but where llguidance compiles a JSON schema it admits only the escape.
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def literal(text: str) -> str:
    """A terminal that matches `text` to the letter."""
    return json.dumps(text)  # in ASCII: llguidance's lexer refuses a string with a bare U+007F


def choice(texts: Iterable[str]) -> str:
    """A group that matches one of `texts`."""
    return "(" + " | ".join(literal(text) for text in texts) + ")"


def has_span(text: str) -> bool:
    """Whether `text` has anything to mention: any character that is no white space."""
    return bool(normalized(text))


def has_number(text: str) -> bool:
    r"""Whether `text` has a character that `\p{N}` matches: `str.isnumeric` is also true for words such as 三."""
    return any(unicodedata.category(character).startswith("N") for character in text)


def span_rules(text: str) -> list[str]:
    """Terminals for the spans of `text`, in JSON strings without their quotes.

    `SPAN` is any run of chunks that neither begins nor ends with a space; `NUMBER` also has a digit or other numeric
    character. Each is given only if the text has one.
    """
    if not has_span(text):
        return []
    pieces = [json_content(normalized(text[start:end]) or " ") for start, end in chunks(text)]
    rules = [
        f"RUN: %regex {json.dumps({'substring_chunks': pieces}, ensure_ascii=False)}",
        rf"{SPAN}: RUN & /[^ ](.*[^ ])?/",
    ]
    if has_number(text):
        rules.append(rf"{NUMBER}: RUN & /[^ ](.*[^ ])?/ & /.*\p{{N}}.*/")
    return rules


def mention_rule(mentions: Sequence[Mention]) -> str:
    """A group that matches one of the given mentions, as the content of a JSON string."""
    return choice(dict.fromkeys(json_content(normalized(mention.text)) for mention in mentions))
