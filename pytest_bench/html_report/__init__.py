"""The page that `pytest-bench report` writes: one HTML file that shows verified sessions and needs no network.

`sessions.read_session` reads a session, `page.render` makes the page of one or several. Text of models and servers
reaches the page as data only: as compressed JSON that the page's script shows as text, or escaped by the template.
"""
