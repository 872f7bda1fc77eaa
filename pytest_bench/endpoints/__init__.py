"""Every request to a server apart from load: the only room that imports httpx.

    address   endpoint URLs, and their names looked up once
    headers   headers and query of every request, with keys read from the environment
    client    one bounded HTTP exchange
    ready     waits until a server is ready and serves the model that the suite names
    advice    what to do if it is not, by its last answer
    scrape    the server's own metrics, around and during a phase
    actions   requests between phases that change a server's state

Import from the modules: `address` and `headers` load no HTTP client.
"""
