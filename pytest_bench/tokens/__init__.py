"""Tokenizers, the pool that runs them, and counting. The only room that imports `tokenizers` and `fastokens`.

    source = resolve("models/deepseek")                      find a tokenizer and what identifies it
    with TokenizerPool() as pool:                            worker processes, sized to the machine
        tokenizer = pool.load(source, backend="auto")        loaded in every worker, its back end proven
        tokenizer.count(texts), .encode(text), .chat_template.render(messages)
        with lane_beside(tokenizer, folder, workers=1) as lane:   during a phase, where a suite wants that
            ...
        result = count_phase(tokenizer, folder, inputs=..., live=...)   after it: texts.<w>.jsonl -> tokens.jsonl
    read_outputs(folder / COUNTS_LOG), read_inputs(...)      what was counted, by request and by sample

The libraries themselves are imported in the pool's processes, never in the session's.
"""
