"""A real RoBERTa with 1024 numbers a vector, built on this machine in about a second: nothing is downloaded.

Its folder has the files that sentence-transformers/all-roberta-large-v1 has, so it takes the way that the production
model takes: RobertaModel and its tokenizer, mean pooling, normalisation. Only depth, width and vocabulary are smaller.
Its weights are random: it shows shapes, norms, order and limits, and never meaning.
"""

import json
from pathlib import Path

DIMENSION = 1024
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # RoBERTa's ids 0 to 4
CORPUS = ["Is this tent waterproof?", "My boots rub at the heel", "We would like to order twelve garden lamps, please"]


def build_small_roberta(folder: Path, *, seed: int = 0, **sizes: int) -> Path:
    """Writes the model into `folder` and returns it: equal arguments, equal bytes. `sizes` are fields of its RobertaConfig to be others."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    tokenizer = _tokenizer()
    small = {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "intermediate_size": 256}
    config = RobertaConfig(
        **small | sizes,
        hidden_size=DIMENSION,
        num_attention_heads=16,
        max_position_embeddings=514,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"} for n, (path, kind) in enumerate(parts)
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True})
    return folder


def _tokenizer():  # type: ignore[no-untyped-def]  # transformers is imported only where it is needed
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import RobertaTokenizer

    bytes_as_letters = Tokenizer(models.BPE())
    bytes_as_letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=SPECIAL_TOKENS, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bytes_as_letters.train_from_iterator(CORPUS, trainer)
    learned = json.loads(bytes_as_letters.to_str())["model"]
    return RobertaTokenizer(vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]], model_max_length=512)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
