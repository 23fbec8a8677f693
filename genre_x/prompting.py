"""Prompt templates: Jinja files in `prompts/templates/` that turn a schema, examples and a text into a chat.

Training and inference render the same template, so they can't drift; its hash is stored with a trained model.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import jinja2

from genre_x.document import Mention
from genre_x.errors import UnknownNameError
from genre_x.interfaces import Message, Prompt
from genre_x.resources import shipped
from genre_x.schema import Schema

DEFAULT_TEMPLATE = "re.v1"


def marked(text: str, mentions: Iterable[Mention]) -> str:
    """`text` with its mentions in square brackets: entity markers, Baldini Soares et al. 2019 (https://arxiv.org/abs/1906.03158).

    Args:
        text: What the prompt shows.
        mentions: With offsets into it. Of those that overlap, the one that starts first is marked, and of these the longest.

    >>> marked("Ada Byron met Bo.", [Mention(0, 3, "Ada"), Mention(0, 9, "Ada Byron"), Mention(14, 16, "Bo")])
    '[Ada Byron] met [Bo].'
    """
    pieces, last = [], 0
    for mention in sorted(mentions, key=lambda mention: (mention.start_char, -mention.end_char)):
        if mention.start_char >= last:
            pieces += [text[last : mention.start_char], "[", text[mention.start_char : mention.end_char], "]"]
            last = mention.end_char
    return "".join([*pieces, text[last:]])


@dataclass(frozen=True)
class PromptTemplate:
    """A versioned template with two blocks, `system` and `user`.

    Attributes:
        name: Of the file, without its suffix.
        id: The name and the start of the SHA-256 of the source, such as `re.v1@1a2b3c4d`.
    """

    name: str
    id: str
    _template: jinja2.Template

    @classmethod
    @lru_cache
    def load(cls, name: str) -> "PromptTemplate":
        """Read a template.

        Raises:
            UnknownNameError: There is no such file.
        """
        folder = shipped("prompts", "templates")
        path = folder / f"{name}.jinja"
        if not path.is_file():
            raise UnknownNameError("template", name, (file.stem for file in folder.glob("*.jinja")))
        source = path.read_text(encoding="utf-8")
        environment = jinja2.Environment(  # noqa: S701 (the output is a prompt, not HTML)
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
        )
        digest = hashlib.sha256(source.encode()).hexdigest()[:8]
        return cls(name, f"{name}@{digest}", environment.from_string(source))

    def render(
        self, schema: Schema, text: str, *, instruction: str, hint: str, turns: Sequence[tuple[str, str]] = ()
    ) -> Prompt:
        """The chat that asks for the triples of `text`.

        Args:
            schema: Types and relations to show, in this order.
            text: The document or a window of it.
            instruction: First sentence of the system message.
            hint: How to answer; belongs to the output format.
            turns: Texts and their right answers, shown before.
        """
        system = self._block(
            "system",
            instruction=instruction,
            hint=hint,
            entity_types=schema.entity_types,
            relation_types=schema.relation_types,
        )
        messages = [Message("system", system)]
        for example, answer in turns:
            messages += [Message("user", self._block("user", text=example)), Message("assistant", answer)]
        messages.append(Message("user", self._block("user", text=text)))
        return Prompt(tuple(messages), self.id)

    def _block(self, name: str, **context: object) -> str:
        template_context = self._template.new_context(context)
        return "".join(self._template.blocks[name](template_context)).strip()
