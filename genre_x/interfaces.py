"""The two seams of the engine, and the small values that cross them.

A `Backend` turns prompts into completions; an `OutputFormat` turns triples into text and text into triples. Everything
else in genre_x is plain functions between these two.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from genre_x.document import Mention, Triple
from genre_x.schema import Schema

Role = Literal["system", "user", "assistant"]
ConstraintKind = Literal["json_schema", "grammar"]
Strength = Literal["schema", "grounded", "none"]
"""How much the constraint says: valid output, valid output whose heads and tails are spans of the text, nothing."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads.

    Attributes:
        messages: The document's text stands in the last one only, so all before it is shared by all documents.
        template: Name and hash of the template, such as `re.v1@1a2b3c4d`.
    """

    messages: tuple[Message, ...]
    template: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the model may write.

    Attributes:
        definition: A JSON schema, or a grammar in llguidance's dialect of Lark.
    """

    kind: ConstraintKind
    definition: str


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt with its own constraint.

    Attributes:
        constraint: None leaves the model free.
        seed: Where tokens are drawn, added to that of the generation; None takes the request's place among the others.
    """

    prompt: Prompt
    constraint: Constraint | None = None
    seed: int | None = None

    def draw_seed(self, config: "GenerationConfig", place: int) -> int | None:
        """The seed for drawing tokens; None if none are drawn."""
        return config.seed + (place if self.seed is None else self.seed) if config.temperature > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig:
    """How to choose tokens.

    Attributes:
        max_new_tokens: Limit for one completion. 512 holds about 30 rows of 16 tokens.
        temperature: 0 takes the most probable token; above, tokens are drawn.
        seed: For drawing.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote.

    Attributes:
        finish_reason: `length` when the token limit cut it.
        token_ends: For each token, how many characters of `text` are complete after it. Not decreasing.
        token_logprobs: For each token, the natural logarithm of its probability among the tokens that the constraint
            allowed there; 0 for a token that the constraint forced. Empty, as `token_ends`, if the backend knows none.
        n_prompt_tokens: Length of the prompt.
        n_forced_tokens: How many tokens the constraint dictated, so that the model was not asked.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    token_ends: tuple[int, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    n_prompt_tokens: int = 0
    n_forced_tokens: int = 0


class Backend(Protocol):
    """Runs a language model.

    Attributes:
        model: Name of the model, stored with every result.
        trained_template: Name and hash of the template the model was fine-tuned with; None if it was not.
        trained_format: Name of the output format it was fine-tuned to write; None if it was not.
        max_context_tokens: Longest prompt plus completion that the model takes.
    """

    @property
    def model(self) -> str: ...

    @property
    def trained_template(self) -> str | None: ...

    @property
    def trained_format(self) -> str | None: ...

    @property
    def max_context_tokens(self) -> int: ...

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes in a prompt."""
        ...

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        """How many tokens the whole prompt takes, chat markup included."""
        ...

    def generate(self, requests: Iterable[Request], *, config: GenerationConfig, batch_size: int = 32) -> Iterator[Completion]:
        """One completion per request, in the same order.

        Args:
            requests: Read lazily, at most a few batches ahead of what is yielded.
            config: The same for all requests.
            batch_size: How many sequences are decoded side by side.

        Raises:
            BackendError: A request this backend can't serve, such as a prompt that is too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class SurfaceTriple:
    """A triple as the model wrote it: strings, not yet found in the text.

    Attributes:
        head_type: None where the format leaves it out because the schema implies it.
        start: Where its row starts in the completion.
        end: Where its row ends there.
    """

    head: str
    relation: str
    tail: str
    head_type: str | None = None
    tail_type: str | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a completion says.

    Attributes:
        triples: The rows that could be read.
        bad_fragments: Rows that could not.
        unfinished: The end of the text if it stopped inside the list, else "".
    """

    triples: tuple[SurfaceTriple, ...]
    bad_fragments: tuple[str, ...] = ()
    unfinished: str = ""


class OutputFormat(Protocol):
    """A way of writing triples as text.

    Attributes:
        name: As a task file names it.
        hint: One sentence for the prompt that says how to answer.
    """

    name: str
    hint: str

    def write(self, triples: Sequence[Triple], schema: Schema, mentions: Sequence[Mention] = ()) -> str:
        """The answer a perfect model would give.

        Args:
            triples: In the words of `schema`.
            schema: What was asked for.
            mentions: All mentions of the document, for formats that list them; heads and tails need not be among them.
        """
        ...

    def parse(self, text: str, schema: Schema) -> Parsed:
        """Read a completion. Never raises, whatever the text is."""
        ...

    def constraint(
        self, schema: Schema, text: str, *, strength: Strength, mentions: Sequence[Mention] | None = None
    ) -> Constraint | None:
        """What the model may write about `text`; accepts what `write` emits for it.

        Args:
            schema: Relations and types that may be written.
            text: The document, or the window of it that the prompt shows.
            strength: `none` gives None.
            mentions: If given and the strength is `grounded`, heads and tails are chosen among these spans.
        """
        ...
