"""What a person looks at: tables of points for terminals, chats and issues.

`tables.tables` turns points and their summaries into one table a kind; `tables.render` into lines of text.
"""
