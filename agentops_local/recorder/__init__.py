"""The recorder: from events and sessions to rows.

- `state` what this process knows of a session
- `payload` JSON text with its long strings put aside, `prompts` the tree of messages
- `rows` an event as the values of its columns, `writes` the transactions
- `recorder` the face the SDK uses
"""
