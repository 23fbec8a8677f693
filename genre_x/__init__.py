"""Relation extraction with small language models: grounded triples from text."""

from genre_x.document import Document, Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import GenreXError
from genre_x.extractor import Extractor
from genre_x.interfaces import GenerationConfig
from genre_x.schema import EntityType, RelationType, Schema
from genre_x.task import Task, load_task

__all__ = [
    "Document",
    "EntityType",
    "Extraction",
    "Extractor",
    "GenerationConfig",
    "GenreXError",
    "Mention",
    "Reason",
    "Rejection",
    "RelationType",
    "Schema",
    "Span",
    "Task",
    "Triple",
    "load_task",
]
