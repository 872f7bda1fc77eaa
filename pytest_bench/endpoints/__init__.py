"""Everything that is said to a server apart from load: the only room that imports httpx.

    address   endpoint URLs, and the names in them looked up once
    headers   headers of every request, keys read from the environment
    ready     whether a server is up, is a model, and is the model the suite means
    advice    what to do about one that is not, by what it answered
    scrape    the server's own metrics, around and during a phase
    actions   what a server is asked to do between phases

Import from the modules: `address` and `headers` load no HTTP client.
"""
