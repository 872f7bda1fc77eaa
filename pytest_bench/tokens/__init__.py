"""Tokenizers, the pool that runs them, and counting. The only room that imports `tokenizers` and `fastokens`.

    source = resolve("models/deepseek")                      find a tokenizer and its digests
    with TokenizerPool() as pool:                            worker processes, sized to the machine
        tokenizer = pool.load(source, backend="auto")        load it in every worker and prove its back end
        tokenizer.count(texts), .encode(text), .chat_template.render(messages)
        with lane_beside(tokenizer, folder, workers=1) as lane:   count during a phase, if the suite asks for it
            ...
        result = count_phase(tokenizer, folder, inputs=..., live=...)   count after it: texts.<w>.jsonl -> tokens.jsonl
    read_outputs(folder / COUNTS_LOG), read_inputs(...)      the counts, by request and by sample

The libraries themselves are imported in the pool's processes, never in the session's.
"""
