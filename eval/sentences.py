"""Real sentences to measure on: CoNLL04's development split, or our own where the data sets are not there."""

from pathlib import Path

from genre_x.datasets import load_dataset, load_sentences

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "datasets"
OWN_TASKS = ("general", "news", "biomedical", "finance", "legal", "supply_chain", "social_media")


def real_sentences(n_sentences: int) -> tuple[str, list[str]]:
    """The name of the source and so many of its sentences."""
    if (SHARED / "conll04").is_dir():
        texts = [document.text for one in load_dataset(SHARED / "conll04", "dev") for document in one.documents]
        return "conll04 dev", texts[:n_sentences]
    paths = [(ROOT / "eval" / "data" / f"{task}.dev.jsonl", task) for task in OWN_TASKS]
    texts = [document.text for path, task in paths for document in load_sentences(path, task).documents]
    return "own dev sentences", texts[:n_sentences]
