"""Relations in spaCy: `nlp.add_pipe("llm_relations")`."""
