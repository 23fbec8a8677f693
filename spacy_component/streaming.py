"""A stream of docs through the engine, in which one bad doc fails alone.

The engine reads ahead, so when it raises, several docs are on their way and any of them may be the cause. Those are then
taken one by one, and the stream goes on after them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from spacy.tokens import Doc

from genre_x.document import Document, Extraction
from genre_x.extractor import Extractor

Outcome = Extraction | Exception


def outcomes(
    docs: Iterable[Doc], to_document: Callable[[Doc], Document], extractor: Extractor, *, batch_size: int
) -> Iterator[tuple[Doc, Outcome]]:
    """Extract from a stream of docs.

    Args:
        docs: Read lazily.
        to_document: What it raises is the outcome of that doc.
        extractor: What it raises is traced to the docs that cause it.
        batch_size: How many windows are decoded side by side.

    Yields:
        Every doc in order, with its extraction or its error.

    Raises:
        Exception: What `docs` itself raises, after the docs that came before.
    """
    source = _Source(iter(docs), to_document)
    while not source.is_over:
        extractions = extractor.pipe(source.documents(), batch_size=batch_size)
        error: Exception | None = None
        while True:
            try:
                extraction = next(extractions, None)
            except Exception as raised:  # any error of the engine is one of some doc: the pipeline's handler decides
                error = raised
                break
            if extraction is None:
                break
            yield from source.failed()
            yield source.waiting.popleft()[0], extraction
        suspects = [document for _, document in source.waiting if isinstance(document, Document)]
        while source.waiting:
            doc, document = source.waiting.popleft()
            if isinstance(document, Exception):
                yield doc, document
            elif error is not None and len(suspects) == 1:
                yield doc, error
            else:
                yield doc, _alone(extractor, document)
    if source.error is not None:
        raise source.error


def _alone(extractor: Extractor, document: Document) -> Outcome:
    try:
        return extractor.extract(document)
    except Exception as error:  # see above
        return error


class _Source:
    """Docs as documents, with those that wait for their outcome.

    Attributes:
        waiting: Docs that were read and have no outcome yet, with their document or the error of the conversion.
        error: What reading the docs raised; it is not about a doc of ours, so it ends the stream.
    """

    def __init__(self, docs: Iterator[Doc], to_document: Callable[[Doc], Document]) -> None:
        self._docs = docs
        self._to_document = to_document
        self.waiting: deque[tuple[Doc, Document | Exception]] = deque()
        self.error: Exception | None = None
        self.is_over = False

    def documents(self) -> Iterator[Document]:
        while not self.is_over:
            try:
                doc = next(self._docs)
            except StopIteration:
                self.is_over = True
                return
            except Exception as error:  # raised by what stands before us in the pipeline: raised again at its place
                self.error, self.is_over = error, True
                return
            try:
                document = self._to_document(doc)
            except Exception as error:  # the pipeline's handler decides
                self.waiting.append((doc, error))
                continue
            self.waiting.append((doc, document))
            yield document

    def failed(self) -> Iterator[tuple[Doc, Exception]]:
        """The docs at the head of the queue that could not be converted."""
        while self.waiting and isinstance(error := self.waiting[0][1], Exception):
            yield self.waiting.popleft()[0], error
