"""LLM calls recorded by themselves: what OpenTelemetry's instrumentors see of a library becomes events.

The instrumentors are other people's and well kept; what is ours is the way from their spans to the database:

| module | what it does |
|---|---|
| `libraries` | which libraries are recorded, and by which instrumentor |
| `switch` | turns instrumentors on as libraries are imported, and off again |
| `imports` | waits for the import of a library |
| `provider` | where their spans go: a provider of our own, and the user's, if there is one |
| `bridge` | what becomes of a span: which event, whose, below which |
| `reading` | a span as what it says, by the names of `semconv`, `openllmetry` and `openinference` |
| `chat` | messages in the shape in which everybody reads them |
| `guard` | the call itself, as the program made it |
| `traffic` | the attempts that a library makes for one call |

Nothing of OpenTelemetry is loaded before a library is imported that it can see.
"""
