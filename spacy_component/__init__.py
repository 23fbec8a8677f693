"""Relations in spaCy: `nlp.add_pipe("llm_relations")`.

Doc ──► convert.to_document ──► streaming.outcomes (Extractor.pipe) ──► annotations.set_extraction ──► doc._.relations
"""

from spacy_component.annotations import Relation, get_extraction, register_extension, set_extraction
from spacy_component.component import LLMRelations, make_llm_relations
from spacy_component.convert import to_doc
from spacy_component.merging import merge_docs

__all__ = [
    "LLMRelations",
    "Relation",
    "get_extraction",
    "make_llm_relations",
    "merge_docs",
    "register_extension",
    "set_extraction",
    "to_doc",
]
