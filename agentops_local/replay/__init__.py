"""A recorded session once more: the program runs unchanged, and its LLM calls are answered as they were.

| module | what it does |
|---|---|
| `recording` | the calls of a session, read from the database |
| `conversation`, `settings` | what was asked, in a form in which all shapes of it can be compared |
| `answer`, `failures` | what was answered, and how a call failed |
| `tape` | the file that all processes of the program share: which call is still to be answered |
| `running` | the program: started, waited for, and what came of it |
| `hooks` | the beginning of each of its Python processes, by `site/sitecustomize.py` |
| `interception` | where its requests are caught |
| `player` | what becomes of each: an answer, the provider, or the end |
| `formats` | the formats of the providers |
| `difference` | what was asked beside what was recorded |
"""
