"""agentops-sync: it brings what was recorded to a server, each event once, whatever the network does.

The way of an event through the modules, from the database to the server and back into the ledger:

    outbox      what there is to send: new rows are noted, and found again by session and kind
    deliveries  a session at the server: created, present, in conflict, parked
    authority   under which key it goes, and what may leave this machine (credentials, policy)
    wire        rows as the bodies that the server takes; comparison: the same rows as it gives them back
    batches     a request is written down before it is sent, and closed by what is proven
    client      one attempt at one request, and what the server may have done with it
    calls       what follows when a request fails that may be repeated; tokens, host
    reconcile   a look at what the server holds, after a request of which nothing clear was heard
    adoption    the same for a session that was there before anything was sent from here
    uploader    which of all this is next, for one session
    daemon      the loop over sessions and databases

It imports `agentops_local`, which knows nothing of it. The server's protocol, and why each rule is as it is, are those
of the AgentOps REST API, version 2, as its public source implements it.
"""
