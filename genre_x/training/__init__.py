"""Instruction fine-tuning: annotated documents → episodes → a model that writes triples."""
