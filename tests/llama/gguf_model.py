"""The tokenizer and chat template inside a GGUF file, as the files that `tokenizers` reads.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
import struct

import tokenizers

_NUMBERS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_CONTROL = 3
"""Type of a token that stands for no text."""


def metadata(path):
    """Every key of a GGUF file with its value; tensors are not read."""
    with path.open("rb") as file:

        def numbers(code, count=1):
            layout = f"<{count}{code}"
            return struct.unpack(layout, file.read(struct.calcsize(layout)))

        def text():
            return file.read(numbers("Q")[0]).decode()

        def value(kind):
            if kind == _STRING:
                return text()
            if kind == _ARRAY:
                (of,), (count,) = numbers("I"), numbers("Q")
                return (
                    list(numbers(_NUMBERS[of], count))
                    if of in _NUMBERS
                    else [value(of) for _ in range(count)]
                )
            return numbers(_NUMBERS[kind])[0]

        if file.read(4) != b"GGUF":
            raise ValueError(f"{path}: is not a GGUF file")
        _, _, count = *numbers("I"), *numbers("Q"), *numbers("Q")
        return {text(): value(*numbers("I")) for _ in range(count)}


def write_tokenizer(model, folder):
    """Write `tokenizer.json` and `tokenizer_config.json` of the model in a GGUF file into `folder`."""
    found = metadata(model)
    kind = found["tokenizer.ggml.model"], found["tokenizer.ggml.pre"]
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"{model}: has a tokenizer of kind {kind}; expected byte-level BPE as SmolLM's")
    tokens = found["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in found["tokenizer.ggml.merges"]]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    special = [
        token
        for token, type_ in zip(tokens, found["tokenizer.ggml.token_type"], strict=True)
        if type_ == _CONTROL
    ]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "bos_token": tokens[found["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[found["tokenizer.ggml.eos_token_id"]],
        "chat_template": found["tokenizer.chat_template"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
