"""A backend without a model, for tests: answers with the strings it is given."""

from collections.abc import Callable, Iterable, Iterator

from genre_x.errors import BackendError
from genre_x.interfaces import Completion, GenerationConfig, Prompt, Request


class FakeBackend:
    """Gives prepared answers and records the requests.

    >>> from genre_x import Extractor
    >>> backend = FakeBackend(['[["Ada","works for","IBM"]]'])
    >>> Extractor.from_task("general", backend=backend).extract("Ada works for IBM.").triples[0].tail.span
    (14, 17)
    """

    def __init__(
        self,
        answers: Iterable[str] | Callable[[Request], str] = (),
        *,
        model: str = "fake",
        trained_template: str | None = None,
        trained_format: str | None = None,
        max_context_tokens: int = 8192,
    ) -> None:
        """Prepare the answers.

        Args:
            answers: One per request, in order; or a function that makes the answer. A token is a word here.
            model: Its name, stored with results.
            trained_template: As of a fine-tuned model.
            trained_format: As of a fine-tuned model.
            max_context_tokens: As of a model.
        """
        self.model = model
        self.trained_template = trained_template
        self.trained_format = trained_format
        self.max_context_tokens = max_context_tokens
        self.requests: list[Request] = []
        self._answer = answers if callable(answers) else _next_of(iter(answers))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return sum(self.count_tokens(message.content) for message in prompt.messages)

    def generate(self, requests: Iterable[Request], *, config: GenerationConfig, batch_size: int = 32) -> Iterator[Completion]:
        for request in requests:
            self.requests.append(request)
            text = self._answer(request)
            words = text.split(" ")
            cut = " ".join(words[: config.max_new_tokens])
            yield Completion(cut, "stop" if cut == text else "length")


def _next_of(answers: Iterator[str]) -> Callable[[Request], str]:
    def answer(request: Request) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise BackendError(
                f"FakeBackend has no answer left for {request.prompt.messages[-1].content!r:.80}. "
                "Give it one answer per window of each document."
            ) from None

    return answer
